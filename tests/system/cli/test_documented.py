"""README.md, docs/, --help and deploy/ say of commands, options, variables and exit codes what the code does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_commands import ROOT, Command

from hpo import errors
from hpo.cli.app import app
from hpo.cli.examples import EXAMPLES
from hpo.commands.run import GIVEN
from hpo.errors import EXIT_CODES, HpoError
from hpo.result import Result
from hpo.settings import RENAMED, VARIABLES

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
DEPLOYED = sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file())
DEPLOYED += [ROOT / name for name in ("docker-compose.yml", "Dockerfile", ".env.example")]
NAMES = {one.name for one in VARIABLES}
OLD_NAMES = {f"HPO_{old.upper()}" for old in RENAMED}
COMPOSE_NAMES = {"HPO_IMAGE"}
"""Of docker-compose.yml, not of hpo."""


def commands() -> dict[str, Any]:
    """Every command by what is typed after `hpo`."""

    def walk(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            yield before + name, command
            if hasattr(command, "commands"):
                yield from walk(command, f"{before}{name} ")

    return dict(walk(typer.main.get_command(app)))


COMMANDS = commands()
RUNNABLE = {name: command for name, command in COMMANDS.items() if not hasattr(command, "commands")}


def options(command: str) -> set[str]:
    return {"--help", *(option for parameter in COMMANDS[command].params for option in parameter.opts)}


def table(first_row: str) -> list[str]:
    """The rows of README.md's table that begins with this row, without its head."""
    below = README.split(first_row, 1)[1].split("\n", 2)[2]
    return below.split("\n\n", 1)[0].splitlines()


def flat(text: str) -> str:
    """Without Markdown's backticks and a terminal's line breaks."""
    return " ".join(text.replace("`", "").split())


def literals(path: Path) -> set[str]:
    """Names of variables that stand in a file of Python as whole strings."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in strings if re.fullmatch(r"HPO_[A-Z_]+", text)}


def mentioned(path: Path) -> set[str]:
    return set(re.findall(r"\bHPO_[A-Z_]+\b", path.read_text(encoding="utf-8")))


def test_the_readme_has_the_table_of_variables() -> None:
    assert table("| environment variable |") == [
        f"| `{one.name}` | {one.default} | {one.purpose} |" for one in VARIABLES
    ]


def test_the_code_reads_the_variables_of_the_table_and_no_others() -> None:
    code = [path for folder in ("hpo", "models", "data", "studies") for path in (ROOT / folder).rglob("*.py")]
    read = set().union(*(literals(path) for path in code if path.name != "settings.py"))
    settings = (ROOT / "hpo" / "settings.py").read_text(encoding="utf-8").split("class Settings")[1]
    read |= set(re.findall(r'"(HPO_[A-Z_]+)"', settings))
    assert read == NAMES | set(GIVEN)


@pytest.mark.parametrize("path", [*PAGES, *DEPLOYED], ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_and_deployments_name_only_variables_that_exist(path: Path) -> None:
    known = NAMES | COMPOSE_NAMES | set(GIVEN) | (OLD_NAMES if path.name == "docker-compose.yml" else set())
    assert mentioned(path) - known == set()


def test_the_variables_that_a_command_is_given_are_documented() -> None:
    rows = re.findall(r"^\| (`HPO_.*?) \|", (ROOT / "docs/own-training.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(", ".join(rows).replace("`", "").split(", ")) == set(GIVEN)


def test_the_readme_has_the_table_of_exit_codes() -> None:
    assert table("| code | |") == [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]


def test_help_explains_every_command_variable_and_exit_code(hpo: Command) -> None:
    text = flat(hpo("--help").out)
    assert [name for name in RUNNABLE if " " not in name and f" {name} " not in text] == []
    assert [code for code, meaning in EXIT_CODES.items() if f"{code} {flat(meaning)}" not in text] == []
    assert [one.name for one in VARIABLES if f"{one.name}: {flat(one.purpose)}" not in text] == []


def test_the_tree_of_errors_has_the_codes_that_the_errors_have() -> None:
    assert errors.__doc__ is not None
    drawn = {name: int(code) for name, code in re.findall(r"── (\w+) +(\d+)", errors.__doc__)}
    assert drawn == {kind.__name__: kind.exit_code for kind in HpoError.__subclasses__()}


def test_every_code_that_a_command_ends_with_is_explained() -> None:
    from hpo.cli import doctor, main, output, reproduce

    codes = {doctor.BROKEN, reproduce.DIFFERS, main.BUG, main.INTERRUPTED, output.BROKEN_PIPE}
    codes |= {kind.exit_code for kind in (HpoError, *HpoError.__subclasses__())}
    codes |= {
        Result("", stopped, None, {}, ()).exit_code for stopped in ("trials", "interrupted", "terminated", "hangup")
    }
    assert codes == set(EXIT_CODES)


def test_the_readme_lists_every_command_and_none_that_does_not_exist() -> None:
    listed = re.findall(r"`hpo ((?:db )?[a-z]+)", "\n".join(row.split(" | ")[0] for row in table("| command | |")))
    assert sorted(listed) == sorted(RUNNABLE)


def test_no_word_of_a_help_is_cut_where_a_terminal_ends(hpo: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """rich ends a word that its column does not hold in three dots."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    assert [command for command in RUNNABLE if "…" in hpo(*command.split(), "--help").out] == []


@pytest.mark.parametrize("command", RUNNABLE)
def test_every_option_of_a_command_is_explained(hpo: Command, command: str) -> None:
    done = hpo(*command.split(), "--help")
    assert done.code == 0
    assert f"Usage: hpo {command}" in done.out
    assert "<bool>" not in done.out  # beside a switch, as if it took a value
    arguments = [parameter for parameter in RUNNABLE[command].params if parameter.name != "help"]
    assert [parameter.name for parameter in arguments if not parameter.help] == []
    assert [typed for typed, _ in EXAMPLES[command] if f"\n     {typed}\n" not in done.out] == []
    assert [typed for typed, _ in EXAMPLES[command] if not typed.startswith(f"hpo {command}")] == []


def written_commands() -> Iterator[tuple[str, str, list[str]]]:
    """(where, command, its options): every `hpo COMMAND ...` in backticks, a block or a script."""
    known = "|".join(sorted(COMMANDS, key=len, reverse=True))
    for path in (*PAGES, *DEPLOYED):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for command, words in re.findall(rf"\bhpo ({known})\b([^`|;&]*)", line):
                where = f"{path.relative_to(ROOT)}:{number}"
                yield where, command, re.findall(r"(?<![\w-])--[a-z][a-z-]*", words.split(" # ")[0])
    for command, examples in EXAMPLES.items():
        for typed, _ in examples:
            yield f"hpo {command} --help", command, re.findall(r"(?<![\w-])--[a-z][a-z-]*", typed)


def test_every_command_that_is_written_down_has_its_options() -> None:
    written = list(written_commands())
    assert len(written) > 40
    assert set(EXAMPLES) == set(RUNNABLE)
    wrong = [
        f"{where}: hpo {command} {option}"
        for where, command, given in written
        for option in given
        if option not in options(command)
    ]
    assert wrong == []


def test_the_readme_gives_each_command_only_options_that_it_has() -> None:
    wrong = []
    for row in table("| command | |"):
        named = re.findall(r"`hpo ((?:db )?[a-z]+)", row)
        having = set().union(*(options(name) for name in named))
        wrong += [(named, option) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", row) if option not in having]
    assert wrong == []
