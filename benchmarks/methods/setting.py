"""What a way of searching knows before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.methods.problems import Problem

__all__ = ["Setting"]


@dataclass(frozen=True)
class Setting:
    """The problem, how many slots will ask at a time, and the seed of everything random."""

    problem: Problem
    slots: int
    seed: int
