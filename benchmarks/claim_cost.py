"""What a claim and the other periodic statements cost, with 10 to 10,000 open trials of other hosts.

    python -m benchmarks.claim_cost [--open 10 1000 10000] [--finished 2000] [--turns 40] [--record]

One host on one connection asks for a trial, reads what changed, renews, counts and looks for lost leases, in the
transactions of the storage thread, while nothing changes but its own trials. CPU is of the server's process for that
connection; wall is what the host waits. Rows are what the database sent for the reading.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import make_url

from benchmarks import simulated
from benchmarks.recording import recorded
from benchmarks.servers import database
from hpo.search.ask_tell import AskTell
from hpo.search.code import code_facts
from hpo.search.identity import own_identity
from hpo.search.open_study import OpenOptions, open_study
from hpo.search.reaper import Reaper
from hpo.storage import queries
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.engine import open_engine
from hpo.storage.queries import EpochRow, TrialResult, WriteBatch
from hpo.study.discovery import FoundStudy

LEASE = 3600.0
LR = FloatDistribution(1e-5, 1e-1, log=True)


def main() -> None:
    options = _options()
    with recorded("claim_cost", "What a claim costs", options.record), tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = make_url(embedded_url(home))
        try:
            print("| open trials | statement | server CPU, ms | wall, ms | rows |\n|---|---|---|---|---|")
            for number in options.open:
                url = database(server, f"open{number}")
                _measure(open_engine(url), number, options.finished, options.turns)
        finally:
            leave_embedded(home)


def _measure(engine: Engine, number: int, finished: int, turns: int) -> None:
    found = FoundStudy(simulated.study, Path(simulated.__file__), ("",))
    opened = open_study(engine, found, OpenOptions(), "other", own_identity(), code_facts())
    with engine.begin() as connection:
        _fill(connection, opened.study_id, finished, number)
        connection.execute(text("ANALYZE"))
    opened = open_study(engine, found, OpenOptions(), "mine", own_identity(), code_facts())
    asker = AskTell(found.study, opened.study_id, opened.cache, Path("nowhere"), "here", 1)
    reaper = Reaper(opened.study_id, own_identity(), LEASE)
    with engine.connect() as connection, _rows_read() as rows:
        backend = psutil.Process(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        connection.rollback()
        claims: list[queries.Claim] = []

        def claim() -> None:
            claims[:] = asker.claim(connection, "mine", LEASE, 1)

        def end() -> None:
            writes = WriteBatch()
            writes.finish(TrialResult(claims[0].trial_id, TrialState.COMPLETE, (0.5,)))
            queries.save(connection, writes, "mine")

        def report() -> None:
            writes = WriteBatch()
            writes.report(claims[0].trial_id, 1, 0.5)
            writes.epoch(EpochRow(claims[0].trial_id, 1, 1.0, 0.5, 1.0, 0.5, 1e-3, 1.0))
            queries.save(connection, writes, "mine")

        parts: dict[str, Callable[[], Any]] = {
            "claim": claim,
            "reading what changed": lambda: asker.synchronise(connection, [claims[0].trial_id]),
            "an epoch saved": report,
            "a trial ended": end,
            "renewal": lambda: queries.renew(connection, "mine", LEASE, "[]"),
            "reaper's visit": lambda: reaper.visit(connection),
            "budget and counts": lambda: asker.count(connection),
        }
        spent = {name: [0.0, 0.0, 0.0] for name in parts}
        for turn in range(turns + 1):
            for name, part in parts.items():
                before = (_cpu(backend), time.perf_counter(), rows[0])
                with connection.begin():
                    part()
                after = (_cpu(backend), time.perf_counter(), rows[0])
                if turn:  # the first opens what the server keeps for a connection
                    spent[name] = [sum(pair) for pair in zip(spent[name], _less(after, before), strict=True)]
    for name, (cpu, wall, read) in spent.items():
        print(f"| {number} | {name} | {cpu / turns * 1000:.2f} | {wall / turns * 1000:.2f} | {read / turns:.0f} |",
              flush=True)  # fmt: skip
    engine.dispose()


def _cpu(process: psutil.Process) -> float:
    """Seconds so far, finer than the clock ticks of /proc/PID/stat."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


def _less(after: tuple[float, ...], before: tuple[float, ...]) -> list[float]:
    return [one - other for one, other in zip(after, before, strict=True)]


def _fill(connection: Connection, study_id: int, finished: int, number: int) -> None:
    """Finished trials, and running ones of another host, each with its parameters, through hpo's own statements."""
    dice = random.Random(number)
    for running, count in ((False, finished), (True, number)):
        for start in range(0, count, 1000):
            claims = queries.claim(connection, study_id, "other", "there", LEASE, min(1000, count - start))
            writes = WriteBatch()
            for one in claims:
                for name in ("lr", "momentum", "weight_decay", "hidden_units_0", "hidden_units_1"):
                    writes.set_param(one.trial_id, name, 10 ** dice.uniform(-4, -2), LR)
                writes.set_user_attr(one.trial_id, "packages", {"torch": "2", "optuna": "5"})
                for step in range(1, 6):
                    writes.report(one.trial_id, step, dice.random())
                if not running:
                    writes.finish(TrialResult(one.trial_id, TrialState.COMPLETE, (dice.random(),)))
            queries.save(connection, writes, "other")


@contextmanager
def _rows_read() -> Any:
    """Counts the rows that every statement of this process brings."""
    rows = [0]

    def count(_connection: Any, cursor: Any, *_: Any) -> None:
        rows[0] += max(0, cursor.rowcount)

    event.listen(Engine, "after_cursor_execute", count)
    yield rows
    event.remove(Engine, "after_cursor_execute", count)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--open", type=int, nargs="+", default=[10, 1000, 10000])
    parser.add_argument("--finished", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--record", action="store_true", help="write records/DATE-claim_cost.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
