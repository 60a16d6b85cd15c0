"""Hooks of mkdocs: pages of the reference that the code writes, and links to files of the repository."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from hpo.cli.app import app
from hpo.cli.examples import EXAMPLES
from hpo.errors import EXIT_CODES
from hpo.settings import VARIABLES

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!\!)\[([^]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that no file holds."""
    for path, text in (("reference/commands.md", commands_page()), ("reference/environment.md", environment_page())):
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link that leaves docs/ becomes the file's name, or leads to the repository where `repo_url` is set."""
    folder = PurePosixPath(page.file.src_uri).parent

    def replaced(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = normpath(f"docs/{folder}/{target}")
        if path.startswith("docs/") and path.endswith((".md", ".png", ".json")):
            return match[0]
        if not (ROOT / path).exists():
            raise SystemExit(f"error: {page.file.src_uri} links to {target}, and there is no {path}")
        if path == "README.md":
            return f"[{text}]({relpath('index.md', str(folder))})"
        if config.repo_url:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path}{anchor})"
        return text if path in text else f"{text} (`{path}`)"

    return LINK.sub(replaced, markdown)


def commands_page() -> str:
    """Every command as `--help` explains it."""
    rows = "\n".join(f"- [`hpo {name}`](#{anchor(name)}): {first_line(command)}" for name, command in commands())
    parts = [
        "# Commands\n\nWritten from what `hpo COMMAND --help` says. Results go to stdout, progress to stderr;",
        "exit codes and environment variables have [a page of their own](environment.md).\n",
        rows,
        *(section(name, command) for name, command in commands()),
    ]
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Each command by what is typed after `hpo`."""

    def walk(group: Any, before: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{before}{name} ")
            else:
                yield before + name, command

    return walk(typer.main.get_command(app), "")


def anchor(name: str) -> str:
    return f"hpo-{name.replace(' ', '-')}"


def first_line(command: Any) -> str:
    return " ".join(command.help.split("\n\n")[0].split())


def section(name: str, command: Any) -> str:
    paragraphs = [" ".join(one.split()) for one in command.help.split("\n\n")]
    examples = "\n\n".join(f"# {purpose}\n{typed}" for typed, purpose in EXAMPLES[name])
    rows = "\n".join(row(parameter) for parameter in command.params if parameter.name != "help")
    return "\n\n".join(
        [
            f"\n## `hpo {name}` {{#{anchor(name)}}}",
            *paragraphs,
            f"```sh\n{examples}\n```",
            f"| option | | |\n|---|---|---|\n{rows}\n",
        ]
    )


def row(parameter: Any) -> str:
    """An option: its names, what it takes, what it does."""
    option, switch = parameter.opts[0].startswith("-"), getattr(parameter, "is_flag", False)
    value = parameter.metavar or parameter.name.upper()
    named = ", ".join(f"`{one}`" for one in parameter.opts) if option else f"`{value}`"
    notes = [" ".join((parameter.help or "").split())]
    notes += ["Required."] if parameter.required else []
    notes += [f"Environment: `{parameter.envvar}`."] if getattr(parameter, "envvar", None) else []
    if getattr(parameter, "show_default", False) and parameter.default is not None and not switch:
        notes.append(f"Default: {parameter.default}.")
    takes = f"<code>{html.escape(value).replace('|', '&#124;')}</code>" if option and not switch else ""
    cells = (named, takes, " ".join(notes))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def environment_page() -> str:
    variables = "\n".join(f"| `{one.name}` | {one.default} | {one.purpose} |" for one in VARIABLES)
    codes = "\n".join(f"| {code} | {html.escape(meaning, quote=False)} |" for code, meaning in EXIT_CODES.items())
    return (
        "# Environment and exit codes\n\n## Environment variables\n\n| variable | default | |\n|---|---|---|\n"
        f"{variables}\n\nA command that a study runs (`command=`) is given variables of its own: "
        "[Your own training](../own-training.md).\n\n## Exit codes\n\n| code | |\n|---|---|\n"
        f"{codes}\n"
    )
