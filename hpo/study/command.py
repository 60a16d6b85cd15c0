"""A command that trains, as a study declares it: words with placeholders, and how its metrics are read."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hpo.errors import StudyError, near_miss
from hpo.study.command_words import RESERVED, argv, check_quoting, line_of, names_in, words_of
from hpo.study.space import Space
from hpo.wording import shortened

__all__ = ["Command", "check_command", "history_of", "output_of", "placeholders"]

CODE_BYTES = 2**20
"""Of the largest file that is taken for code."""
BRANCHES = 200
"""At most this many ends of branches are looked at for a row that is missing somewhere."""


@dataclass(frozen=True)
class Command:
    """A program with its arguments, in which {lr} stands for the value of the row `lr`. Raises StudyError.

    Beside the rows there are {number}, {seed}, {checkpoint_dir} and {params}, all parameters as JSON; {{ is a brace.

    words:   "python train.py --lr {lr}", or a list of words. A value is always part of one word, whatever is in it
    shell:   have /bin/sh read them, for pipes and variables; values are then quoted for it
    metrics: a regular expression with named groups, or several, looked for in each line that the command prints:
             r"epoch (?P<epoch>\\d+).* loss (?P<val_loss>\\S+)". Without, it writes JSON lines to the file HPO_METRICS
    value:   "last" or "best": which of the objective's values is the trial's
    folder:  where it runs, seen from the folder of the study's file, which it is otherwise
    """

    words: str | Sequence[str]
    shell: bool = False
    metrics: str | tuple[str, ...] = ()
    value: str = "last"
    folder: str = ""

    def __post_init__(self) -> None:
        template = words_of(self.words, shell=self.shell)
        object.__setattr__(self, "words", self.words if isinstance(self.words, str) else template)
        object.__setattr__(self, "metrics", _patterns_of(self.metrics))
        if self.value not in ("last", "best"):
            raise StudyError(f"value={self.value!r} is neither last nor best", next='Command(..., value="best")')
        if not isinstance(self.folder, str | os.PathLike):
            raise StudyError(f"folder={shortened(repr(self.folder))} is no path", next='Command(..., folder="src")')
        object.__setattr__(self, "folder", os.fspath(self.folder))

    @property
    def template(self) -> tuple[str, ...]:
        """Its words; of a shell's command the one text."""
        return words_of(self.words, shell=self.shell)

    @property
    def patterns(self) -> tuple[str, ...]:
        return (self.metrics,) if isinstance(self.metrics, str) else self.metrics

    @property
    def shown(self) -> str:
        """The command as it was written."""
        return self.words if isinstance(self.words, str) else " ".join(map(_quoted, self.words))

    def located(self, folder: Path) -> Command:
        """The same with the whole path of the folder that it runs in; `folder` is the one of the study's file."""
        return Command(self.words, self.shell, self.metrics, self.value, str((folder / self.folder).resolve()))

    @property
    def files(self) -> list[Path]:
        """Files of the user's own that the command names, such as train.py: other ones would be another command."""
        words = self.template
        if self.shell:
            words = tuple(re.split(r"[\s;|&()<>'\"]+", words[0]))
        named = [Path(self.folder) / word for word in words if word and "{" not in word]
        return sorted({path for path in named if path.suffix and _is_small_file(path)})

    def argv(self, values: Mapping[str, Any]) -> list[str]:
        """What is executed for `values`, by name of the placeholder."""
        return argv(self.template, values, shell=self.shell)

    def line(self, values: Mapping[str, Any]) -> str:
        """The same as a line for a terminal."""
        return line_of(argv(self.template, values, shell=self.shell), shell=self.shell)

    def declaration(self) -> dict[str, str]:
        """What decides what a trial means. The folder differs between hosts."""
        said = {"(command)": self.shown, "(shell)": "yes" if self.shell else "", "(metrics)": "  ".join(self.patterns)}
        return {name: text for name, text in said.items() if text} | {"(value)": self.value}


def placeholders(config: Mapping[str, Any], number: int, seed: int, checkpoint_dir: str) -> dict[str, Any]:
    """What stands for each placeholder: the rows of a configuration, and what hpo adds."""
    own = {"number": number, "seed": seed, "checkpoint_dir": checkpoint_dir, "params": json.dumps(config)}
    return {**config, **own}


def output_of(checkpoint: Path) -> Path:
    """The file that keeps what the command of a trial prints. It stays when the checkpoints beside it go."""
    return checkpoint.with_name(f"{checkpoint.name}.txt")


def history_of(checkpoint: Path) -> Path:
    """The file that keeps what the command of a trial has reported, until the database has the trial's end."""
    return checkpoint.with_name(f"{checkpoint.name}.jsonl")


def check_command(study: str, command: Command, rows: Space, objectives: Sequence[str]) -> None:
    """Raise StudyError for a row without a placeholder, a placeholder without a row, a pattern without the metric."""
    named = names_in(command.template)
    for name in rows.rows:
        if name in RESERVED:
            raise StudyError(
                f'study "{study}": the row "{name}" has a name that hpo uses itself ({{{name}}})',
                next=f'rename the row, for example "my_{name}"',
            )
    for name in named:
        if name not in rows.rows and name not in RESERVED:
            raise StudyError(
                f'study "{study}": the command names {{{name}}}, which is no row',
                evidence=[near_miss(name, [*rows.rows, *RESERVED]), command.shown],
                next=f'add "{name}" to the space; if a brace is meant, write {{{{{name}}}}}',
            )
    counts = {row.repeat for name, row in rows.searched.items() if name in named}  # which their values' number says
    unnamed = [name for name in rows.rows if name not in {*named, *counts} and "params" not in named]
    if unnamed:
        raise StudyError(
            f'study "{study}": nothing in the command reads "{unnamed[0]}"',
            evidence=[command.shown],
            next=f"write {{{unnamed[0]}}} where it belongs, or {{params}} for all of them as JSON",
        )
    _check_objectives(study, command, objectives)
    if command.shell:
        check_quoting(study, command.template[0])
    _check_always_there(study, command, rows)


def _check_objectives(study: str, command: Command, objectives: Sequence[str]) -> None:
    if command.value == "best" and len(objectives) > 1:
        raise StudyError(
            f'study "{study}": value="best" is for one objective, and it has {len(objectives)}',
            next="leave it out: the last value of each counts",
        )
    groups = {group for pattern in command.patterns for group in re.compile(pattern).groupindex}
    missing = [metric for metric in objectives if metric not in groups]
    if command.patterns and missing:
        raise StudyError(
            f'study "{study}": no pattern in metrics= has a group called {missing[0]}, the objective',
            evidence=[near_miss(missing[0], sorted(groups))],
            next=f"name the group: (?P<{missing[0]}>\\S+)",
        )


def _check_always_there(study: str, command: Command, rows: Space) -> None:
    """An argument can be left out of words, but not the program, their first, and nothing of a shell's one text."""
    needed = [name for name in names_in(command.template[:1]) if name in rows.rows]
    for config in islice(rows.branches(), BRANCHES if needed else 0):
        name = next((name for name in needed if config.get(name) is None), None)
        if name is not None:
            raise StudyError(
                f'study "{study}": "{name}" is not always there, and '
                + ("a shell's command cannot leave it out" if command.shell else "it names the program"),
                evidence=[f"{name}   {rows.rows[name]}"],
                next="give the command as words (without shell=True), which leaves out the argument, "
                "or read the value from HPO_PARAMS"
                if command.shell
                else f"give the row {name} a program in every branch",
            )


def _is_small_file(path: Path) -> bool:
    """Whether it may be code: data would take long to read, and is no code."""
    return os.path.isfile(path) and path.stat().st_size <= CODE_BYTES


def _quoted(word: str) -> str:
    return word if word and not set(word) & set(" \t\n'\"") else shlex.quote(word)


def _patterns_of(metrics: object) -> tuple[str, ...]:
    next = 'metrics=r"loss (?P<val_loss>\\S+)": the name of the group is the metric\'s'
    patterns = (metrics,) if isinstance(metrics, str) else metrics
    if not isinstance(patterns, list | tuple) or not all(isinstance(pattern, str) for pattern in patterns):
        raise StudyError(f"metrics={metrics!r} is neither the text of a regular expression nor several", next=next)
    for pattern in patterns:
        try:
            found = re.compile(pattern)
        except re.error as error:
            raise StudyError(f"metrics={pattern!r} is no regular expression: {error}", next=next) from error
        if not found.groupindex:
            raise StudyError(f"metrics={pattern!r} has no named group", next=next)
    return tuple(patterns)
