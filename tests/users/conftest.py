"""Projects of users, each a folder here: what they came for, by documented means only."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "system" / "faults"))

from world import new_world

__all__ = ["new_world"]
