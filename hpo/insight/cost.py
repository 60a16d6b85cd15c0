"""What it cost, how fast it goes, and how long since it last got better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import fmean, median

from optuna.trial import FrozenTrial

from hpo.duration import format_duration
from hpo.results.best import eligible
from hpo.results.reading import StudyView
from hpo.storage.optuna_schema import count_finished
from hpo.storage.trial_record import record_of

__all__ = ["Cost", "Gain", "Pace", "cost_of", "gains_of", "pace_of"]

WINDOW = 50
"""The rate is that of so many last trials."""

PAUSE = 20.0
"""A gap between two ends that is so many times the usual one is a pause, in which nobody worked on the study."""

_NAMES = {"cuda": "GPU", "cpu": "CPU", "": "trials"}


@dataclass(frozen=True)
class Cost:
    """seconds: time on devices of finished trials, by kind: "GPU", "CPU" (one for each trainer), "trials" (not known).

    On a GPU that several trials shared, time counts once.
    """

    seconds: Mapping[str, float]

    @property
    def text(self) -> str:
        """`1h 20m of GPU time, 4m 05s of CPU time`; "" of none."""
        named = {"trials": "in trials"}
        return ", ".join(
            f"{format_duration(seconds)} {named.get(kind, f'of {kind} time')}" for kind, seconds in self.seconds.items()
        )


@dataclass(frozen=True)
class Gain:
    """A trial that was better than all before it, when it ended (None where not known)."""

    trial: int
    value: float
    ended: datetime | None


@dataclass(frozen=True)
class Pace:
    """trials_per_hour:  finished ones, of the last WINDOW, without pauses; None where fewer than three have ended
    seconds_left:        to the deadline, or until the wanted number is done at this rate; None where neither is known
    trials_left:         how many still fit
    last_gain:           the trial that last was better than all before, trials_since: how many have finished since
    gains:               all such trials, in their order
    """

    trials_per_hour: float | None
    seconds_left: float | None
    trials_left: int | None
    last_gain: Gain | None
    trials_since: int | None
    gains: tuple[Gain, ...] = ()


def cost_of(trials: Sequence[FrozenTrial]) -> Cost:
    alone: dict[str, float] = {}
    shared: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for trial in trials:
        if not trial.state.is_finished():
            continue
        record = record_of(trial)
        whole = trial.duration.total_seconds() if trial.duration else 0.0
        seconds = max(0.0, float(record.get("seconds", whole)))
        device = record.get("device", "")
        kind = _NAMES.get(device.split(":")[0], "trials")
        if kind == "GPU" and trial.datetime_complete is not None:
            end = trial.datetime_complete.timestamp()
            shared.setdefault((record.get("host", ""), device), []).append((end - seconds, end))
        elif seconds:
            alone[kind] = alone.get(kind, 0.0) + seconds
    together = sum(_covered(spans) for spans in shared.values())
    return Cost({**({"GPU": together} if together else {}), **alone})


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of all spans together, where they overlap only once."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def gains_of(trials: Sequence[FrozenTrial], direction: str) -> list[Gain]:
    """Every trial that was better than all that ended before it, in their order."""
    sign = 1.0 if direction == "maximize" else -1.0
    gains: list[Gain] = []
    for trial in sorted(eligible(trials), key=lambda trial: (trial.datetime_complete or datetime.min, trial.number)):
        value = trial.values[0]
        if not gains or sign * value > sign * gains[-1].value:
            gains.append(Gain(trial.number, value, trial.datetime_complete))
    return gains


def pace_of(view: StudyView) -> Pace:
    ends = sorted(
        trial.datetime_complete for trial in view.trials if trial.state.is_finished() and trial.datetime_complete
    )
    rate = _rate([end.timestamp() for end in ends[-WINDOW:]])
    gains = gains_of(view.trials, view.directions[0]) if len(view.directions) == 1 else []
    gain = gains[-1] if gains else None
    since = sum(end > gain.ended for end in ends) if gain is not None and gain.ended is not None else None
    left = view.seconds_left
    missing = view.trials_target - count_finished(view.counts) if view.trials_target is not None else None
    by_trials = max(0, missing) * 3600 / rate if missing is not None and rate else None
    known = [max(0.0, seconds) for seconds in (left, by_trials) if seconds is not None]
    seconds = min(known, default=None)
    fitting = int(seconds * rate / 3600) if seconds is not None and rate else None
    return Pace(
        rate, seconds, missing if fitting is None and missing is not None else fitting, gain, since, tuple(gains)
    )


def _rate(ends: Sequence[float]) -> float | None:
    gaps = [later - earlier for earlier, later in pairwise(ends)]
    if len(gaps) < 2:
        return None
    usual = max(median(gaps), fmean(gaps) / PAUSE)
    worked = [gap for gap in gaps if gap <= max(PAUSE * usual, 1.0)] if usual > 0 else gaps
    return 3600 * len(worked) / sum(worked) if sum(worked) > 0 else None
