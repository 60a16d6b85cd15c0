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
from hpo.data import DATASETS
from hpo.errors import EXIT_CODES
from hpo.models import MODELS, Reads
from hpo.settings import VARIABLES
from hpo.study.recipe import RECIPE, REQUIRED, Setting

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!\!)\[([^]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that no file holds."""
    pages = {
        "commands": commands_page,
        "environment": environment_page,
        "rows": rows_page,
        "models-and-data": models_and_data_page,
    }
    for name, page in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
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


THEN = {
    0: "",
    1: "read what it printed; `hpo doctor --fix` mends what it can",
    2: "the error names the file, the line or the option, and the next step",
    3: "[another name, the old table, or `--changed-code`](../how-to/changed-table.md)",
    4: "see that the server runs and that the URL is right, then run the same command again: nothing is lost",
    5: "`hpo doctor` looks at devices and data",
    70: "read the traceback. Of your code: mend it, then `hpo run --retry-failed`. Of hpo: report it",
    129: "run the same command again",
    130: "run the same command again",
    141: "",
    143: "run the same command again",
}
"""What to do after each exit code."""


def environment_page() -> str:
    variables = "\n".join(f"| `{one.name}` | {one.default} | {one.purpose} |" for one in VARIABLES)
    codes = "\n".join(
        f"| {code} | {html.escape(meaning, quote=False)} | {THEN[code]} |" for code, meaning in EXIT_CODES.items()
    )
    return (
        "# Environment and exit codes\n\n## Environment variables\n\n| variable | default | |\n|---|---|---|\n"
        f"{variables}\n\nA command that a study runs (`command=`) is given variables of its own: "
        "[Your own training](../own-training.md).\n\n## Exit codes\n\n| exit code | it means | then |\n|---|---|---|\n"
        f"{codes}\n"
    )


def rows_page() -> str:
    """Every row that hpo's own training reads."""
    rows = "\n".join(
        f"| `{name}` | {setting.kind.__name__} | {_default(setting)} | {_values(setting)} | {_what(setting)} |"
        for name, setting in RECIPE.items()
    )
    return (
        "# Rows that training reads\n\nEach may stand in `space`, searched (`Float(...)`, `Categorical(...)`) or "
        "as one value. Rows that the model reads are [with the models](models-and-data.md). "
        "[The recipe](../recipe.md) explains losses, metrics, optimizers, schedules and augmentation.\n\n"
        f"| row | type | without it | values | |\n|---|---|---|---|---|\n{rows}\n"
    )


def _default(setting: Setting) -> str:
    if setting.default is REQUIRED:
        return "required"
    value = setting.unset if setting.default is None else setting.default
    return "its own" if value is None else f"{value}"


def _values(setting: Setting | Reads) -> str:
    if setting.choices:
        return ", ".join(f"`{one}`" for one in setting.choices)
    low = "" if setting.low is None else f"{'above' if setting.open_low else 'from'} {setting.low:g}"
    high = "" if setting.high is None else f"{'below' if setting.open_high else 'to'} {setting.high:g}"
    return f"{low} {high}".strip()


def _what(setting: Setting) -> str:
    needs = "; ".join(f"`{name}` {' or '.join(values)}" for name, values in (setting.needs or {}).items())
    return f"{setting.help}{f' (with {needs})' if needs else ''}"


def models_and_data_page() -> str:
    """What comes with hpo: networks with the rows that they read, and data sets."""
    models = "\n".join(
        f"| `{name}` | {model.help} | {_images(model.image_sizes)} | {_reads(model.reads)} |"
        for name, model in MODELS.items()
    )
    data = "\n".join(
        f"| `{name}` | {row.help} | {' x '.join(map(str, row.shape))} | {len(row.classes)} | "
        f"{'downloaded once' if row.download else 'comes with a library'} |"
        for name, row in DATASETS.items()
    )
    return (
        "# Models and data sets\n\n## Models\n\n`model=` in a study. Of torchvision and timm every network goes by its "
        'name, as `"torchvision:resnet18"`, `"timm:resnet18d"`; those read `resize` and `weights`, too. '
        "For your own: [Your own model](../tutorial/own-model.md).\n\n"
        f"| model | | images, pixels a side | rows that it reads |\n|---|---|---|---|\n{models}\n\n"
        "## Data sets\n\n`dataset=` in a study. For your own: [Your own data](../tutorial/own-data.md).\n\n"
        f"| data set | | one sample | classes | |\n|---|---|---|---|---|\n{data}\n"
    )


def _images(sizes: tuple[int, int] | None) -> str:
    return "any" if sizes is None else f"{sizes[0]} to {sizes[1]}"


def _reads(reads: Any) -> str:
    return ", ".join(f"`{name}`" + ("" if one.default is None else f" ({one.default})") for name, one in reads.items())
