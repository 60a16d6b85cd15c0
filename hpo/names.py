"""Names that become part of a path: one rule for all, wherever they come from."""

from __future__ import annotations

import re

__all__ = ["is_artifact_id", "is_file_name"]


def is_file_name(name: object) -> bool:
    """Whether `name`, a study's name or uid, can be part of a path: nothing in it leads out of its folder."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}", name) is not None


def is_artifact_id(text: object) -> bool:
    """Whether `text` is an artifact's id such as Optuna makes, which is the name of its file."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f-]{36}", text) is not None
