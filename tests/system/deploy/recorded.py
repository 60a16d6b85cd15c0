"""What a study left in the database, read with plain SQL and judged as a whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import text


@dataclass(frozen=True)
class Recorded:
    """states by trial number; epochs recorded for each; how many leases are held; attempts seen; trials by worker."""

    states: dict[int, str]
    epochs: dict[int, list[int]]
    params: dict[int, int]
    held: int
    attempts: set[int]
    workers: Counter[str]

    @property
    def finished(self) -> int:
        return sum(state in ("COMPLETE", "PRUNED", "FAIL") for state in self.states.values())

    def check_nothing_lost(self) -> None:
        """No trial is stuck, none has vanished, and every epoch that was trained was kept once."""
        assert self.held == 0, f"{self.held} leases are still held"
        assert "RUNNING" not in self.states.values(), self.states
        assert "FAIL" not in self.states.values(), self.states
        assert sorted(self.states) == list(range(len(self.states)))
        for number, epochs in self.epochs.items():
            assert epochs == list(range(1, len(epochs) + 1)), f"trial {number} has epochs {epochs}"
            assert self.params[number] > 0, f"trial {number} was trained and lost its parameters"


def recorded(url: str) -> Recorded:
    """The one study of the database at `url`."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return _read(connection)
    except sqlalchemy.exc.ProgrammingError:
        return Recorded({}, {}, {}, 0, set(), Counter())  # the tables are still to come
    finally:
        engine.dispose()


def _read(connection: sqlalchemy.Connection) -> Recorded:
    def rows(statement: str) -> list[Any]:
        return list(connection.execute(text(statement)))

    epochs: dict[int, list[int]] = {}
    for number, epoch in rows("SELECT number, epoch FROM hpo_epochs JOIN trials USING (trial_id) ORDER BY 1, 2"):
        epochs.setdefault(number, []).append(epoch)
    counted = "SELECT number, count(param_id) FROM trials LEFT JOIN trial_params USING (trial_id) GROUP BY number"
    by = "SELECT value_json FROM trial_user_attributes WHERE key = 'worker'"
    return Recorded(
        states=dict(map(tuple, rows("SELECT number, CAST(state AS text) FROM trials"))),
        epochs=epochs,
        params=dict(map(tuple, rows(counted))),
        held=rows("SELECT count(*) FROM hpo_leases WHERE worker_id IS NOT NULL")[0][0],
        attempts={row[0] for row in rows("SELECT DISTINCT attempt FROM hpo_leases")},
        workers=Counter(row[0] for row in rows(by)),
    )
