"""Where a study is found: by name in studies/, as `path/to/file.py[:attribute]`, or as `package.module:attribute`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import HpoError, StudyError, UsageError, near_miss
from hpo.former_names import former_name, line_instead
from hpo.study.objective_study import ObjectiveOptions, objective_study
from hpo.study.script import Script, read_script
from hpo.study.study import Study
from hpo.user_code import line_of, mend_import
from hpo.wording import shortened

__all__ = ["FoundStudy", "as_stored", "find_again", "find_study", "list_studies", "names_code"]

_ENDINGS = (Exception, SystemExit)
"""How a study's file may fail to import: a file that calls `sys.exit` is as broken as one that raises."""


@dataclass(frozen=True)
class FoundStudy:
    """A study and where it came from: `source` is the file, `sys_path` what its own imports need.

    reference: what follows `--study` in the command that names it; "" for one that was made in Python
    """

    study: Study
    source: Path
    sys_path: tuple[str, ...] = ()
    reference: str = ""

    @cached_property
    def dataset(self) -> dict[str, Any]:
        """The study's data set as its jobs carry it, looked at once: it may be a folder of a million files."""
        return self.study.dataset_row.for_trainer(self.study.dataset_name)


def find_study(reference: str, options: ObjectiveOptions | None = None) -> FoundStudy:
    """The study that `--study` names. StudyError says what was looked for and the nearest name there is.

    options: of an objective, where `reference` names one ("train.py:objective"). None for who does not search: the
             study then has the objective's name, and a direction that means nothing
    """
    found = _find(reference, options or ObjectiveOptions(("minimize",)))
    if options is not None and options.given and found.study.own is None:
        raise UsageError(
            f"{options.given[0]} is for an objective of your own, and {reference} declares a study",
            next="write it into the study's file",
        )
    if found.study.program is not None:  # as seen from its file, or from here where a module is named
        folder = found.source.parent if reference.partition(":")[0].endswith(".py") else Path.cwd()
        found = replace(found, study=replace(found.study, command=found.study.program.located(folder)))
    words = [shlex.quote(reference), *(options.words if options is not None else ())]
    return replace(found, reference=" ".join(words))


def _find(reference: str, options: ObjectiveOptions) -> FoundStudy:
    path, _, attribute = reference.rpartition(":")
    if not path.endswith(".py"):
        path, attribute = reference, "study"
    if path.endswith(".py") or "/" in path:
        return _from_file(Path(os.path.expanduser(path)), attribute, options)  # which leaves ~nobody as it is
    if ":" in reference:
        module_name, _, attribute = reference.partition(":")
        here = str(Path.cwd())
        _make_importable(here)
        script = _script_of(module_name)
        if script is not None and attribute in script.functions:
            return FoundStudy(objective_study(reference, script, options), script.path, (here,))
        found = _from_module(_import(module_name, reference), attribute)
        return FoundStudy(found.study, found.source, (here,))
    names = _names()
    if reference not in names:
        file = Path(f"{reference}.py")
        hint = (
            f"or write ./{file}, the file in this folder"
            if os.path.isfile(file)
            else "or give a .py file, or module:attribute"
        )
        raise StudyError(
            f'unknown study "{reference}"',
            evidence=[near_miss(reference, names)],
            next=f"`hpo studies` lists them, {hint}",
        )
    return _from_module(_import(f"hpo.studies.{reference}", reference), "study")


def find_again(reference: str, name: str, source: str) -> FoundStudy:
    """The declaration of the stored study `name` that `reference` names, or else the one of hpo's own in `source`.

    source: what the database says was the search's file. It is compared with hpo's own and never imported: whoever may
            write to the database would run code here. StudyError says what it is, and how to name it oneself
    """
    if names_code(reference):
        return find_study(reference)
    for own in (reference, Path(source).stem):
        if own in _names() and (own == reference or str(find_study(own).source) == source):
            return find_study(own)
    raise StudyError(
        f'"{name}" is not one of the studies that come with hpo, and hpo runs code only from a file that you name',
        evidence=[f"the database says that it was started from {shortened(source, 200) or '(no file)'}"],
        next=f"if you know that file: --study {shlex.quote(shortened(source, 200) or 'FILE.py')} "
        f"--name {shlex.quote(shortened(name, 200))}",
    )


def names_code(reference: str) -> bool:
    """Whether `reference` names a file or a module, and not a study by its name."""
    return "/" in reference or ":" in reference or reference.endswith(".py")


def as_stored(found: FoundStudy, name: str, declaration: Mapping[str, Any]) -> FoundStudy:
    """What `hpo run --name --subset` changed is in the database, so it need not be said again."""
    subset = str(declaration.get("(subset)", ""))
    images = int(subset) if re.fullmatch(r"[0-9]{1,12}", subset) else None
    return replace(found, study=replace(found.study, name=name, subset=images))


def list_studies() -> list[FoundStudy]:
    """Every study in the studies package, by name."""
    return [find_study(name) for name in _names()]


def _names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module("hpo.studies").__path__))


def _import(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except HpoError as error:
        raise _located(error) from error.__cause__
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}.") and not former_name(error.name):
            raise StudyError(
                f'no module "{error.name}" for study "{reference}"', next="check the name, and the folder you are in"
            ) from error
        raise _broken(reference, error) from error
    except _ENDINGS as error:
        raise _broken(reference, error) from error


def _script_of(module: str) -> Script | None:
    """The text of a module that has not been imported; None where it has no file of Python's."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, *_ENDINGS):
        return None  # importing it says why
    return read_script(Path(spec.origin)) if spec is not None and spec.origin is not None else None


def _from_file(path: Path, attribute: str, options: ObjectiveOptions) -> FoundStudy:
    if not os.path.isfile(path):  # False, unlike Path.is_file, for a name that is too long for any file
        raise StudyError(f"no study file {path}", next="check the path; `hpo studies` lists those that come with hpo")
    path = path.resolve()
    if path.suffix != ".py":
        raise StudyError(f"{path} is not a Python file", next="name it with .py, or check the path")
    folder = str(path.parent)
    script = read_script(path)
    if script is not None:
        script.check_named(attribute)
    if script is not None and attribute in script.functions:
        return FoundStudy(objective_study(f"{path}:{attribute}", script, options), path, (folder,))
    if script is not None and not script.studies:
        script.explain(attribute)
    _make_importable(folder)
    spec = importlib.util.spec_from_file_location(f"_hpo_study_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except HpoError as error:
        raise _located(error) from error.__cause__
    except _ENDINGS as error:
        raise _broken(str(path), error) from error
    found = _from_module(module, attribute)
    return FoundStudy(found.study, path, (folder,))


def _make_importable(folder: str) -> None:
    """A study may import the modules beside it. Last in the path, so that no file there hides an installed package."""
    if folder not in sys.path:
        sys.path.append(folder)


def _from_module(module: ModuleType, attribute: str) -> FoundStudy:
    study = getattr(module, attribute, None)
    source = Path(module.__file__ or "")
    if not isinstance(study, Study):
        candidates = [name for name, value in vars(module).items() if isinstance(value, Study)]
        raise StudyError(
            f'{source} has no study called "{attribute}"',
            evidence=[f"studies there: {', '.join(candidates)}" if candidates else "it declares no study"],
            next=f"write `{attribute} = Study(...)` at its top level",
        )
    return FoundStudy(study, source)


def _located(error: HpoError) -> HpoError:
    """The same error, with the line of the user's file that it came from as its last evidence."""
    if place := line_of(error):
        error.evidence = (*error.evidence, place)
    return error


def _broken(reference: str, error: BaseException) -> StudyError:
    what = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
    place = line_of(error)
    return StudyError(
        f'study "{reference}" does not import: {what}',
        evidence=[place] if place else [],
        next=line_instead(error) or f"{mend_import(error)}, then run `hpo check` again",
    )
