"""The fixtures of evaluated_study."""

from __future__ import annotations

from evaluated_study import evaluated, home

__all__ = ["evaluated", "home"]
