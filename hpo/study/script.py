"""What a script for study.optimize says of itself, read from its text: it may not be imported before that is known."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hpo.errors import StudyError

__all__ = ["Script", "read_script"]


@dataclass
class Script:
    """functions: names bound at its top level by `def` or `lambda`; objectives: those that it passes to `optimize`
    directions: what its create_study says, () where it does not say; line: of create_study, 0 where there is none
    """

    path: Path
    functions: list[str] = field(default_factory=list)
    objectives: list[str] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)  # names bound to a Study(...) of hpo's
    directions: tuple[str, ...] = ()
    line: int = 0
    unguarded: str = ""
    lambdas: list[str] = field(default_factory=list)
    takers: list[str] = field(default_factory=list)  # functions whose first argument is called trial

    @property
    def candidates(self) -> list[str]:
        """Functions that look like an objective."""
        return [name for name in dict.fromkeys([*self.objectives, *self.takers]) if name in self.functions]

    def check(self) -> None:
        """Raise StudyError where importing the file would run a search of its own."""
        if self.unguarded:
            raise StudyError(
                f"{self.path} runs a search of its own when it is imported",
                evidence=[f"{self.path}, {self.unguarded}"],
                next='put these lines under `if __name__ == "__main__":`; Python then runs them, and hpo does not',
            )

    def check_named(self, attribute: str) -> None:
        """Raise StudyError for a function that makes a study, where the study itself is wanted."""
        if attribute == "study" and attribute in self.functions and attribute not in self.takers + self.objectives:
            raise StudyError(
                f"{self.path}: study is a function, not a Study",
                next="call it there: study = study(); an objective of your own is named: --study FILE.py:objective",
            )

    def explain(self, attribute: str) -> None:
        """Raise StudyError for a script of plain Optuna's of which no objective was named: what to write instead."""
        if attribute != "study" or not (self.objectives or self.lambdas or self.takers):
            return
        if self.candidates:
            raise StudyError(
                f"{self.path} declares no study; it has an objective",
                next=f"name that: --study {self.path.name}:{self.candidates[0]}",
            )
        if self.lambdas:
            raise StudyError(
                f"{self.path} optimizes a lambda, which no other process can import",
                evidence=[f"lambda trial: {self.lambdas[0]}"],
                next=f"write it as a function at the top of the file: def objective(trial): return {self.lambdas[0]}",
            )

    def proposal(self) -> str:
        """What to add to the command line, for a script whose direction is not given there."""
        if len(self.directions) > 1:
            return f"add --directions {','.join(self.directions)}, as create_study says in line {self.line}"
        if self.directions:
            return f"add --direction {self.directions[0]}, as create_study says in line {self.line}"
        if self.line:
            return f"add --direction minimize, which create_study in line {self.line} takes without being told"
        return "add --direction minimize, or --direction maximize"


def read_script(path: Path) -> Script | None:
    """None for a file that is no Python: importing it says what is wrong."""
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return None
    script = Script(path)
    for node in tree.body:
        _bindings(node, script)
    for call, inside in _calls(tree, False):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name == "create_study":
            script.line = script.line or call.lineno
            script.directions = script.directions or _directions(call)
        elif name == "optimize" and isinstance(call.func, ast.Attribute) and call.args:
            first = call.args[0]
            if isinstance(first, ast.Name):
                script.objectives.append(first.id)
            elif isinstance(first, ast.Lambda):
                script.lambdas.append(ast.get_source_segment(source, first.body) or "...")
            if not inside:
                _unguarded(call, source, script)
        elif not inside and ast.unparse(call.func) == "hpo.run":
            _unguarded(call, source, script)
    return script


def _unguarded(call: ast.Call, source: str, script: Script) -> None:
    line = f"line {call.lineno}: {(ast.get_source_segment(source, call) or '').splitlines()[0]}"
    script.unguarded = script.unguarded or line


def _bindings(node: ast.stmt, script: Script) -> None:
    if isinstance(node, ast.FunctionDef):
        script.functions.append(node.name)
        if node.args.args and node.args.args[0].arg == "trial":
            script.takers.append(node.name)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        if isinstance(node.value, ast.Lambda):
            script.functions.append(name)
        elif isinstance(node.value, ast.Call) and "Study" in ast.unparse(node.value.func).split("."):
            script.studies.append(name)


def _calls(node: ast.AST, inside: bool) -> Iterator[tuple[ast.Call, bool]]:
    """Every call, and whether importing the file leaves it out: inside a function, or under `if __name__`."""
    for child in ast.iter_child_nodes(node):
        within = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "__name__" in ast.unparse(child.test):
            within = True
        if isinstance(child, ast.Call):
            yield child, within
        yield from _calls(child, within)


def _directions(call: ast.Call) -> tuple[str, ...]:
    for keyword in call.keywords:
        if keyword.arg in ("direction", "directions"):
            nodes = keyword.value.elts if isinstance(keyword.value, ast.List | ast.Tuple) else [keyword.value]
            words = [
                str(node.value if isinstance(node, ast.Constant) else getattr(node, "attr", "")).lower()
                for node in nodes
            ]
            return tuple(words) if set(words) <= {"minimize", "maximize"} else ()
    return ()
