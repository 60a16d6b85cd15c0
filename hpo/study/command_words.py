"""The words of a command with placeholders, and what is executed for values. Nothing a value holds can add a word.

"python train.py --lr {lr}"  ->  ("python", "train.py", "--lr", "{lr}")  ->  ["python", "train.py", "--lr", "0.01"]
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpo.errors import StudyError

__all__ = ["RESERVED", "argv", "check_quoting", "line_of", "names_in", "words_of"]

RESERVED = ("number", "seed", "checkpoint_dir", "params")
"""Placeholders beside the rows."""

_BETWEEN_WORDS = ";|&()"
"""What ends a word of a shell's, beside a space."""

Pieces = list[tuple[str, str | None]]  # text, and the placeholder after it


def words_of(words: str | Sequence[str], *, shell: bool) -> tuple[str, ...]:
    """The words that a study gives as text or as a list; of a shell's command its one text. Raises StudyError."""
    example = 'command="python train.py --lr {lr}", or ["python", "train.py", "--lr", "{lr}"]'
    if isinstance(words, str) and shell:
        found = [words] if words.strip() else []
    elif isinstance(words, str):
        try:
            found = shlex.split(words)
        except ValueError as error:
            raise StudyError(f"command {words!r} cannot be split into words: {error}", next=example) from error
    elif not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise StudyError(f"command={words!r} is neither text nor a list of words", next=example)
    elif shell:
        raise StudyError("a shell reads one text, and the command is a list of words", next='"a | b", shell=True')
    else:
        found = list(words)
    if not found or not found[0]:
        raise StudyError("the command is empty", next=example)
    if any("\0" in word for word in found):
        raise StudyError("the command has a zero byte in it, which no program can be given")
    for word in found:
        _pieces(word)
    return tuple(found)


def names_in(template: Sequence[str]) -> list[str]:
    """The placeholders, in the order of their first use."""
    return list(dict.fromkeys(name for word in template for _, name in _pieces(word) if name is not None))


def argv(template: Sequence[str], values: Mapping[str, Any], *, shell: bool) -> list[str]:
    """What is executed. A word whose value is None or not there is left out, with the option before it:
    `--momentum {momentum}` is not said where there is no momentum. A list is as many words, or joined by commas."""
    if shell:
        return ["/bin/sh", "-c", _shell_text(template[0], values)]
    filled: list[str] = []
    for place, word in enumerate(template):
        pieces = _pieces(word)
        if any(name is not None and values.get(name) is None for _, name in pieces):
            before = template[place - 1] if place > 1 else ""
            if len(pieces) == 1 and not pieces[0][0] and before.startswith("-") and not names_in([before]):
                filled.pop()
        elif len(pieces) == 1 and pieces[0][0] == "" and pieces[0][1] is not None:
            filled += _texts(values[pieces[0][1]])
        else:
            filled.append("".join(text + _joined(name, values) for text, name in pieces))
    return filled


def line_of(words: Sequence[str], *, shell: bool) -> str:
    """What is executed, as a line to paste into a terminal."""
    return words[-1] if shell else shlex.join(words)


def check_quoting(study: str, text: str) -> None:
    """Raise StudyError for a placeholder between quotation marks, or right after a backslash or a $: hpo quotes a value
    itself, and they would undo that."""
    quote, escaped = "", False
    for literal, name in _pieces(text):
        before = ""
        for mark in literal:
            before = "" if escaped else mark
            if escaped:
                escaped = False
            elif mark == "\\" and quote != "'":
                escaped = True
            elif mark in ("'", '"'):
                quote = "" if quote == mark else quote or mark
        if name is not None and quote:
            raise StudyError(
                f'study "{study}": {{{name}}} stands between quotation marks, and hpo quotes values itself',
                next=f"write {{{name}}} outside of them",
            )
        if name is not None and before in ("\\", "$"):
            raise StudyError(
                f'study "{study}": {{{name}}} stands right after a {before}, and hpo quotes values itself',
                next=f"write {{{name}}} without it; a variable of the shell is ${{{{{name}}}}}",
            )


def _pieces(word: str) -> Pieces:
    """StudyError for a brace that is neither a placeholder's nor doubled."""
    try:
        parsed = list(string.Formatter().parse(word))
    except ValueError as error:
        raise StudyError(
            f"{word!r} in the command: {error}", next="a placeholder is {lr}; a brace of its own is written twice, {{"
        ) from error
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or not name.isidentifier()):
            shown = "{" + name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "") + "}"
            raise StudyError(
                f"{shown} in the command is no placeholder",
                next="a placeholder is the name of a row, {lr}; a brace of its own is written twice, {{",
            )
    return [(text, name) for text, name, _, _ in parsed]


def _shell_text(text: str, values: Mapping[str, Any]) -> str:
    pieces = _pieces(text)
    filled: list[str] = []
    for place, (literal, name) in enumerate(pieces):
        filled.append(literal)
        if name is not None:
            before = literal[-1:] or ("" if place == 0 else "}")
            after = pieces[place + 1][0][:1] or "}" if place + 1 < len(pieces) else ""
            alone = all(mark.strip() in _BETWEEN_WORDS for mark in (before, after))
            values_of = _texts(values[name]) if alone else [_joined(name, values)]
            filled.append(" ".join(map(shlex.quote, values_of)))
    return "".join(filled)


def _joined(name: str | None, values: Mapping[str, Any]) -> str:
    return "" if name is None else ",".join(_texts(values[name]))


def _texts(value: Any) -> Iterator[str]:
    yield from map(str, value) if isinstance(value, list | tuple) else (str(value),)
