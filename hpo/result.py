"""The result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas
    from optuna.trial import FrozenTrial

    from hpo.trainers.snapshot import Best

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """The result of a run: the study as this process knows it.

    stopped: "deadline", "trials", "exhausted", "converged", "stopped" (by trial.study.stop()),
             "interrupted" (Ctrl-C), "terminated" (SIGTERM) or "hangup" (SIGHUP: the terminal was closed)
    """

    study: str
    stopped: str
    best: Best | None
    counts: Mapping[str, int]
    frozen: tuple[FrozenTrial, ...] = field(repr=False)

    @property
    def trials(self) -> pandas.DataFrame:
        """Every trial as a row: number, state, value, seconds and one column per parameter."""
        import pandas

        return pandas.DataFrame(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.values[0] if trial.values else None,
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                **trial.params,
            }
            for trial in self.frozen
        )

    @property
    def exit_code(self) -> int:
        return {"interrupted": 130, "terminated": 143, "hangup": 129}.get(self.stopped, 0)
