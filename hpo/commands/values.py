"""Metrics in what a program writes, and what they come to: a report for each step, and the trial's value.

A record is a table of names and numbers: a JSON object on a line of its own, or the named groups of a pattern.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hpo.own_metrics import MOST_METRICS, is_metric_name

__all__ = ["STEPS", "Values", "json_records", "pattern_records"]

STEPS = ("epoch", "step")
"""Names that number a record, the first of which counts: batches of different sizes have the same epochs."""
MOST_STEP = 2**31
MOST_NAMES = 20
"""Other names that are kept, to say what a program wrote in place of its objective."""


def json_records(line: str) -> Iterator[dict[str, float]]:
    """The numbers of each JSON object on the line: `json.dump` writes one after the other without a newline between."""
    decoder, place, line = json.JSONDecoder(), 0, line.strip()
    while place < len(line):
        try:
            found, place = decoder.raw_decode(line, place)
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict):
            yield numbers_of(found)
        while place < len(line) and line[place] in " ,":
            place += 1


def pattern_records(patterns: Sequence[re.Pattern[str]], line: str) -> Iterator[dict[str, float]]:
    """The numbers among the named groups of each pattern that is found in the line."""
    for pattern in patterns:
        if found := pattern.search(line):
            yield numbers_of({name: text for name, text in found.groupdict().items() if text is not None})


def numbers_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Those of its values that are numbers, also as text; null is NaN, which most languages' JSON has no word for."""
    numbers: dict[str, float] = {}
    for name, value in record.items():
        if value is None:
            numbers[name] = math.nan
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                numbers[name] = float(value)
            except (ValueError, OverflowError):
                continue
    return numbers


@dataclass
class Values:
    """What a program has reported so far, in all attempts that go on from each other.

    last: of each objective. best: of the first one, NaN left aside. step: the last one that had a value of it
    names: others that it wrote. reported: by step
    waiting: numbers without a step, or a step without its objective, for what comes next
    """

    objectives: tuple[str, ...]
    maximize: bool = False
    last: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    step: int = -1
    names: list[str] = field(default_factory=list)
    reported: dict[int, dict[str, float]] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)

    def take(self, record: Mapping[str, float]) -> tuple[int, dict[str, float]] | None:
        """(step, all that is known of it) where the record adds something to a step."""
        self._note(record)
        record = {**self.waiting, **record}
        self.waiting = {}
        metrics = {name: value for name, value in record.items() if name not in STEPS and is_metric_name(name)}
        numbers = [record[name] for name in STEPS if name in record]
        step = next((int(one) for one in numbers if 0 <= one < MOST_STEP and one == int(one)), None)
        has_objective = self.objectives[0] in metrics
        if not metrics or (step is None and not has_objective):
            self.waiting = dict(list(record.items())[:MOST_METRICS])
            return None
        step = self.step + 1 if step is None else step
        if has_objective:
            self.step = step
        else:
            self.waiting = {STEPS[0]: float(step)}  # its objective may come on a line without a number
        before = self.reported.get(step, {})
        known = dict(list({**before, **metrics, **before}.items())[:MOST_METRICS])
        self._value(known, metrics)
        if known.keys() <= before.keys():
            return None
        self.reported[step] = known
        return step, known

    def _note(self, record: Mapping[str, float]) -> None:
        others = (
            name for name in record if is_metric_name(name) and name not in (*self.objectives, *STEPS, *self.names)
        )
        self.names += islice(others, MOST_NAMES - len(self.names))
        self.last |= {name: record[name] for name in self.objectives if name in record}

    def _value(self, known: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """An attempt that trains a step again may come to another number; the step keeps its first, and so does the
        trial's value."""
        self.last |= {name: known[name] for name in self.objectives if name in metrics and name in known}
        value = known.get(self.objectives[0], math.nan) if self.objectives[0] in metrics else math.nan
        if not math.isnan(value) and (self.best is None or (value > self.best) == self.maximize):
            self.best = value

    def result(self, *, best: bool) -> dict[str, float] | None:
        """Each objective's value for the trial; None where one was never reported."""
        if any(name not in self.last for name in self.objectives):
            return None
        return {self.objectives[0]: self.best} if best and self.best is not None else dict(self.last)
