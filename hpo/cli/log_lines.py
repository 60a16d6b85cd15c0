"""A running search without a live picture: lines for a file, a pipe, a batch system; or JSON for a log collector."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Timer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hpo.cli.captured import Captured
from hpo.cli.output import notice as print_line
from hpo.cli.states import counts_text
from hpo.duration import format_duration
from hpo.json_values import as_json
from hpo.printable import one_line
from hpo.wording import score

if TYPE_CHECKING:
    from hpo.trainers.snapshot import SlotView, Snapshot

__all__ = ["LINES_AT_ONCE", "JsonLines", "PlainLines", "stamped"]

PROGRESS_SECONDS = 60.0
"""Between two lines that say how far the study is."""
VERBOSE_SECONDS = 10.0
PHASE_SECONDS = 5.0
"""How long something may take, while a run starts, before a line says what it is."""
LINES_AT_ONCE = 20
LINES_PER_SECOND = 2.0
SLOTS = 8
"""Slots that a line of progress names; more are counted."""


def stamped(text: str) -> None:
    """One line with the time of day in front."""
    print_line(f"{time.strftime('%H:%M:%S')}  {text}")


class _Lines:
    """What both kinds of lines are made with.

    quiet: only new bests and problems; verbose: no line is held back, and progress comes every ten seconds
    place: the database, as a person names it
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        place: str = "",
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self._quiet, self._verbose, self._place, self._clock = quiet, verbose, place, clock
        self._captured = None if write is not None else self._capture()
        self._write = write or (stamped if self._captured is None else self._captured.write)
        self._every = VERBOSE_SECONDS if verbose else PROGRESS_SECONDS
        self._said: float | None = None
        self._latest: Snapshot | None = None

    def _capture(self) -> Captured | None:
        """What takes in all that this process prints, if anything does."""
        return None

    def __enter__(self) -> Self:
        if self._captured is not None:
            self._captured.__enter__()
        return self


class PlainLines(_Lines):
    """A header, a line per event, at most a few per second, and every minute a line that says how far the study is."""

    _allowance = float(LINES_AT_ONCE)
    _refilled = -math.inf
    _left_out = 0
    _phase: Timer | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_phase()
        self._write_left_out()
        if self._latest is not None and not self._quiet:
            self._write(progress_text(self._latest))

    def phase(self, text: str) -> None:
        """What happens before the first trial. Only what takes long has a line, and it comes while it does."""
        self._end_phase()
        if self._verbose:
            self._write(text)
        elif not self._quiet:
            self._phase = Timer(PHASE_SECONDS, self._write, [text])
            self._phase.daemon = True
            self._phase.start()

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.cancel()
            self._phase = None

    def snapshot(self, snapshot: Snapshot) -> None:
        """The first is the header; then one every minute is a line."""
        self._end_phase()
        self._latest = snapshot
        if self._quiet:
            return
        now = self._clock()
        if self._said is None:
            self._said = now
            self._write(header_text(snapshot, self._place))
        elif now - self._said >= self._every:
            self._said = now
            self._write_left_out()
            self._write(progress_text(snapshot))

    def notice(self, text: str) -> None:
        if self._verbose or not _routine(text):
            self._write(text)
        elif not self._quiet:
            self._limited(text)

    def _limited(self, text: str) -> None:
        now = self._clock()
        self._allowance = min(float(LINES_AT_ONCE), self._allowance + (now - self._refilled) * LINES_PER_SECOND)
        self._refilled = now
        # When there are too many lines, a few seconds of silence and one number read better than every third line.
        if self._allowance < 1.0 or (self._left_out and self._allowance < LINES_AT_ONCE / 2):
            self._left_out += 1
            return
        self._allowance -= 1.0
        self._write_left_out()
        self._write(text)

    def _write_left_out(self) -> None:
        if self._left_out:
            self._write(f"({self._left_out} more trial{'s' if self._left_out > 1 else ''} ended)")
            self._left_out = 0


class JsonLines(_Lines):
    """Each line an object: `time` (UTC), `event` ("phase", "start", "notice", "progress") and what belongs to it.

    A fifth event, "output", is a line that a trial, or a library, has printed: the first hundred, then ten a second;
    its `left_out` says how many lines are not shown.
    """

    def _capture(self) -> Captured:
        return Captured(self._output)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._captured is not None:
            self._captured.__exit__(kind, error, trace)
        if self._latest is not None and not self._quiet:
            self._event("progress", **_facts(self._latest))

    def phase(self, text: str) -> None:
        if not self._quiet:
            self._event("phase", message=text)

    def snapshot(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        now = self._clock()
        if self._quiet or (self._said is not None and now - self._said < self._every):
            return
        if self._said is None:
            self._event("start", database=self._place, **_facts(snapshot))
        else:
            self._event("progress", **_facts(snapshot))
        self._said = now

    def notice(self, text: str) -> None:
        if not (self._quiet and _routine(text)):
            self._event("notice", message=one_line(text))

    def _output(self, line: str, left_out: int) -> None:
        self._event("output", **({"left_out": left_out} if left_out else {"message": one_line(line)}))

    def _event(self, event: str, **facts: Any) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(json.dumps({"time": moment, "event": event, **as_json(facts)}, ensure_ascii=True))


def header_text(snapshot: Snapshot, place: str) -> str:
    """`mlp_mnist: maximize val_accuracy for 3h 00m, on cuda:0, cuda:1; database postgresql://...`"""
    limits = []
    if snapshot.seconds_left is not None:
        limits.append(f"for {format_duration(snapshot.seconds_left)}")
    if snapshot.trials_target is not None:
        many = "1 trial has" if snapshot.trials_target == 1 else f"{snapshot.trials_target} trials have"
        limits.append(f"until {many} finished")
    devices = [slot.device for slot in snapshot.slots]
    named = ", ".join(
        f"{devices.count(one)} x {one}" if devices.count(one) > 1 else one for one in dict.fromkeys(devices)
    )
    parts = [f"{snapshot.study}: {snapshot.direction} {snapshot.objective}", *limits]
    where = "; ".join([f"on {named}" if named else "", f"database {place}" if place else ""]).strip("; ")
    return f"{' '.join(parts)}{f', {where}' if where else ''}"


def progress_text(snapshot: Snapshot) -> str:
    """Counts, best, rate, time left, and the epoch and score of each slot."""
    parts = [counts_text(snapshot.counts)]
    if snapshot.best is not None:
        parts.append(f"best {score(snapshot.best.value)} (trial {snapshot.best.trial})")
    rate = snapshot.insight.pace.trials_per_hour if snapshot.insight is not None else None
    if rate is not None:
        parts.append(f"{rate:,.0f} trials/h")
    if snapshot.seconds_left is not None:
        parts.append(f"{format_duration(snapshot.seconds_left)} left")
    if snapshot.trials_target:
        parts.append(f"of {snapshot.trials_target} trials")
    training = [slot for slot in snapshot.slots if slot.state == "training" and slot.trial is not None]
    parts += [_slot_text(slot) for slot in training[:SLOTS]]
    if len(training) > SLOTS:
        parts.append(f"and {len(training) - SLOTS} more training")
    return "; ".join(parts)


def _slot_text(slot: SlotView) -> str:
    reached = f" {score(slot.score)}" if slot.score is not None else ""
    return f"{slot.device} trial {slot.trial} epoch {slot.epoch_text}{reached}"


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    best, insight = snapshot.best, snapshot.insight
    return {
        "study": snapshot.study,
        "objective": snapshot.objective,
        "direction": snapshot.direction,
        "counts": dict(snapshot.counts),
        "best": {"trial": best.trial, "value": best.value, "params": dict(best.params)} if best is not None else None,
        "verdict": insight.verdict.sentence if insight is not None else None,
        "trials_per_hour": insight.pace.trials_per_hour if insight is not None else None,
        "seconds_left": snapshot.seconds_left,
        "trials_target": snapshot.trials_target,
        "slots": [
            {"device": slot.device, "state": slot.state, "trial": slot.trial, "epoch": slot.epoch, "score": slot.score}
            for slot in snapshot.slots
        ],
    }


def _routine(text: str) -> bool:
    """Whether the line says that a trial ended as usual. No other line is left out."""
    return re.match(r"trial \d+ (complete|pruned)\b", text) is not None and "memory" not in text
