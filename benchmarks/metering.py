"""What a side of a comparison costs: CPU seconds of this process and of PostgreSQL, statements, the sampler's share."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import psutil
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import BaseStorage
from sqlalchemy import Engine, event

from hpo.sampling.column_tpe import ColumnTPE

__all__ = ["Meter", "SamplerClock", "postgres_cpu", "spread"]


class Meter:
    """Counts from `start` to `stop` in this process. One per process."""

    def __init__(self, storage: type[BaseStorage]) -> None:
        self.statements = 0
        self.transactions = 0
        self.sampler_cpu = 0.0
        self._depth = 0
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "begin", self._transaction)
        for name in ("infer_relative_search_space", "sample_relative", "sample_independent"):
            for sampler in (TPESampler, ColumnTPE):
                if name in vars(sampler):
                    self._time(sampler, name, +1.0)
        # What a sampler reads through the storage is the storage's cost.
        for name in ("get_all_trials", "set_trial_system_attr"):
            self._time(storage, name, -1.0)

    def start(self) -> None:
        self.statements = self.transactions = 0
        self.sampler_cpu = 0.0
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self) -> dict[str, float]:
        return {
            "cpu": time.process_time() - self._cpu,
            "wall": time.perf_counter() - self._wall,
            "sampler": self.sampler_cpu,
            "statements": self.statements,
            "transactions": self.transactions,
        }

    def _statement(self, *_: Any) -> None:
        self.statements += 1

    def _transaction(self, *_: Any) -> None:
        self.transactions += 1

    def _time(self, owner: type, name: str, sign: float) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            outermost = sign > 0 and self._depth == 0
            if sign < 0 and self._depth == 0:
                return inner(*args, **kwargs)
            self._depth += sign > 0
            began = time.thread_time()
            try:
                return inner(*args, **kwargs)
            finally:
                if outermost or sign < 0:
                    self.sampler_cpu += sign * (time.thread_time() - began)
                self._depth -= sign > 0

        setattr(owner, name, timed)


class SamplerClock:
    """Seconds by the wall clock that the samplers of this process take for each trial, by number. One per process."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self._depth = 0
        for name in ("infer_relative_search_space", "sample_relative", "sample_independent"):
            for sampler in (RandomSampler, TPESampler, ColumnTPE):
                if name in vars(sampler):
                    self._time(sampler, name)

    def _time(self, owner: type, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(sampler: Any, study: Any, trial: Any, *args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            began = time.perf_counter()
            try:
                return inner(sampler, study, trial, *args, **kwargs)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    seconds = time.perf_counter() - began
                    self.seconds[trial.number] = self.seconds.get(trial.number, 0.0) + seconds

        setattr(owner, name, timed)


def postgres_cpu(postmaster: int) -> float:
    """CPU seconds of a PostgreSQL server so far, backends that have left included."""
    root = psutil.Process(postmaster)
    times = root.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in root.children(recursive=True):
        try:
            used = child.cpu_times()
            total += used.user + used.system
        except psutil.NoSuchProcess:
            pass
    return total


def spread(values: list[float], unit: float = 1.0, digits: int = 1) -> str:
    """`median (lowest .. highest)`."""
    scaled = [value * unit for value in values]
    if len(scaled) == 1:
        return f"{scaled[0]:.{digits}f}"
    return f"{median(scaled):.{digits}f} ({min(scaled):.{digits}f} .. {max(scaled):.{digits}f})"
