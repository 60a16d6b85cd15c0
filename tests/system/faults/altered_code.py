"""A file's code with one thing in one function replaced, found by what it means and not by how it is laid out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["altered", "find"]


def altered(source: str, name: str, old: str, new: str) -> str:
    """`source` with `old` replaced by `new` inside `name`, a function (`Class.method`, `outer.inner`) or a constant.

    old: an expression or a statement; spaces, line breaks, quotes and comments do not matter, and `...` stands for any
         expression. It has to occur exactly once.
    new: an expression, or statements where a whole statement is replaced
    Raises LookupError for a name that is not there, and where `old` is not there exactly once.
    """
    tree = ast.parse(source)
    place = find(tree, name)
    pattern, replacement = ast.parse(old).body, ast.parse(new).body
    [wanted], whole = pattern, not isinstance(pattern[0], ast.Expr) or not isinstance(replacement[0], ast.Expr)
    if not whole:
        assert isinstance(wanted, ast.Expr)
        assert isinstance(replacement[0], ast.Expr)
        _replace(place, wanted.value, replacement[0].value, name)
    else:
        _replace_statement(place, wanted, replacement, name)
    return ast.unparse(ast.fix_missing_locations(tree))


def find(tree: ast.Module, name: str) -> ast.AST:
    """The function, class or assigned constant of that qualified name. LookupError for one that is not there."""
    here: ast.AST = tree
    for part in name.split("."):
        there = next((node for node in _inside(here) if part in _names(node)), None)
        if there is None:
            raise LookupError(f"there is no {name}")
        here = there
    return here


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in `node`, but not in functions or classes in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _inside(child)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _fields(place: ast.AST) -> Iterator[tuple[list[ast.AST], int]]:
    """Every place of a node below `place`, as a list and an index, so that another can be put there."""
    for node in ast.walk(place):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list):
                yield from ((value, index) for index, item in enumerate(value) if isinstance(item, ast.AST))


def _replace(place: ast.AST, old: ast.expr, new: ast.expr, name: str) -> None:
    found = 0
    for node in list(ast.walk(place)):
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.expr) and _same(old, item):
                        value[index], found = new, found + 1
            elif isinstance(value, ast.expr) and _same(old, value):
                setattr(node, field, new)
                found += 1
    _once(found, old, name)


def _replace_statement(place: ast.AST, old: ast.stmt, new: list[ast.stmt], name: str) -> None:
    found = 0
    for items, index in list(_fields(place)):
        if _same(old, items[index]):
            items[index : index + 1] = new
            found += 1
    _once(found, old, name)


def _once(found: int, old: ast.AST, name: str) -> None:
    if found != 1:
        raise LookupError(f"{ast.unparse(old)!r} is {found} times in {name}")


def _same(pattern: object, node: object) -> bool:
    if isinstance(pattern, ast.Constant) and pattern.value is ...:
        return True
    if isinstance(pattern, ast.AST):
        return type(pattern) is type(node) and all(
            _same(value, getattr(node, field, None))
            for field, value in ast.iter_fields(pattern)
            if field not in ("ctx", "type_comment")
        )
    if isinstance(pattern, list):
        return isinstance(node, list) and len(pattern) == len(node) and all(map(_same, pattern, node))
    return pattern == node and type(pattern) is type(node)
