"""A study of so many finished trials: what opening it takes, and what one more trial takes then.

The first trials are trained. The others are written straight into the tables: each is one of those with parameters,
configuration, curve and value of its own. A process of its own then opens the study as `hpo run` does and, on the study
in memory, asks for trials under each sampler, reports to the pruner and tells a result.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import inspect
from sqlalchemy.engine import Engine

import hpo
from benchmarks.histories import draw
from hpo.sampling.distributions import distribution
from hpo.search.ask_tell import AskTell
from hpo.search.identity import own_identity
from hpo.search.live_counts import LiveCounts
from hpo.search.open_study import OpenOptions, open_study
from hpo.settings import Settings
from hpo.storage import queries
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.engine import open_engine
from hpo.storage.optuna_schema import STUDIES, TRIALS, distribution_text
from hpo.storage.queries import Claim, EpochRow
from hpo.storage.reads import LARGEST_ID
from hpo.study.discovery import FoundStudy, find_study
from hpo.study.parameters import Parameter, Scalar
from hpo.study.samplers import Sampler

__all__ = ["measure", "open_and_ask"]

TRAINED = 24
"""Trials that are trained, for the others to look like."""
CHUNK = 10_000
ASKED = 15
SAMPLERS: dict[str, Sampler] = {"Random": hpo.Random(), "TPE": hpo.TPE(), "CmaEs": hpo.CmaEs()}
COLUMNS = {
    "trials": "trial_id, number, study_id, state, datetime_start, datetime_complete",
    "trial_params": "trial_id, param_name, param_value, distribution_json",
    "trial_values": "trial_id, objective, value, value_type",
    "trial_intermediate_values": "trial_id, step, intermediate_value, intermediate_value_type",
    "trial_user_attributes": "trial_id, key, value_json",
    "hpo_leases": "trial_id, study_id",
    "hpo_epochs": "trial_id, epoch, val_accuracy, lr, seconds",
}


def measure(study: str, counts: Sequence[int]) -> None:
    """Print what opening the study and asking takes with each of `counts` trials, in a home of its own."""
    print(f"\n{study}\n{'trials':>9}{'written':>9}{'open':>8}{'its CPU':>9}{'most held':>11}"
          + "".join(f"{name + ' ' + part:>14}" for name in SAMPLERS for part in ("first", "ask", "tell")))  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        os.environ["HPO_HOME"] = folder
        try:
            for count in counts:
                began = time.monotonic()
                extend(study, count)
                written = time.monotonic() - began
                command = [sys.executable, "-m", "benchmarks.endurance", "--open", study]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                _show(count, written, json.loads(done.stdout))
        finally:
            leave_embedded(Path(folder))


def _show(count: int, written: float, took: Mapping[str, float]) -> None:
    print(f"{count:>9}{written:>7.0f} s{took['opening_seconds']:>6.1f} s{took['opening_cpu_seconds']:>7.1f} s"
          f"{took['peak_bytes'] / 1e6:>8.0f} MB"
          + "".join(f"{took[f'{name}_{part}_seconds'] * 1e3:>11.1f} ms"
                    for name in SAMPLERS for part in ("first", "ask", "tell")))  # fmt: skip
    print(json.dumps({"trials": count, **took}))


def extend(study: str, count: int) -> None:
    """Give the study, in the HPO_HOME of this process, `count` finished trials; it is begun if it is new."""
    found = _found(study)
    engine = open_engine(embedded_url(Settings.read().home), statement_seconds=3600.0)
    if not inspect(engine).has_table(STUDIES):
        hpo.run(found, trials=TRAINED, devices="cpu", trainers=1)
    with engine.connect() as connection:
        row = queries.find_study(connection, found.study.name)
        assert row is not None
        first = connection.exec_driver_sql(f"SELECT trial_id FROM {TRIALS} ORDER BY trial_id LIMIT {TRAINED}")
        trained = queries.read_changes(connection, row.study_id, LARGEST_ID, list(first.scalars()))
        like = [trial for trial in trained if trial.state.is_finished()]
        number = sum(queries.counts(connection, row.study_id).values())
    while number < count:
        _write(engine, found, row.study_id, like, range(number, min(count, number + CHUNK)))
        number = min(count, number + CHUNK)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def _found(study: str) -> FoundStudy:
    found = find_study(study)
    return replace(found, study=replace(found.study, name=f"history_{study}"))


def _write(engine: Engine, found: FoundStudy, study_id: int, like: Sequence[FrozenTrial], numbers: range) -> None:
    rows: dict[str, io.StringIO] = {name: io.StringIO() for name in COLUMNS}
    connection = engine.raw_connection()
    with connection.cursor() as cursor:
        # Foreign keys are checked by triggers, one by one, for what is right by construction.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SELECT nextval('trials_trial_id_seq') FROM generate_series(1, %s)", [len(numbers)])
        for number, (trial_id,) in zip(numbers, cursor.fetchall(), strict=True):
            rng = random.Random(number)
            _trial(rows, found, rng.choice(like), rng, trial_id, number, study_id)
        for name, lines in rows.items():
            lines.seek(0)
            cursor.copy_expert(f"COPY {name} ({COLUMNS[name]}) FROM STDIN", lines)
    connection.commit()
    connection.close()


def _trial(
    rows: Mapping[str, io.StringIO],
    found: FoundStudy,
    like: FrozenTrial,
    rng: random.Random,
    trial_id: int,
    number: int,
    study_id: int,
) -> None:
    def line(table: str, *values: object) -> None:
        rows[table].write("\t".join([str(value) for value in (trial_id, *values)]) + "\n")

    def suggest(name: str, row: Parameter) -> Scalar:
        value = draw(rng, row)
        kind = distribution(row)
        line("trial_params", name, kind.to_internal_repr(value), distribution_text(kind))
        return value

    line("trials", number, study_id, like.state.name, like.datetime_start, like.datetime_complete)
    config = found.study.resolve(found.study.rows.sample(suggest))
    lower = abs(rng.gauss(0.0, 0.05))
    if like.values is not None:
        line("trial_values", 0, like.values[0] - lower, "FINITE")
    for step, value in like.intermediate_values.items():
        line("trial_intermediate_values", step, value - lower, "FINITE")
        line("hpo_epochs", step, value - lower, 0.001, 0.5)
    for key, value in {**like.user_attrs, "config": config, "seed": rng.getrandbits(31)}.items():
        line("trial_user_attributes", key, json.dumps(value).replace("\\", "\\\\"))
    line("hpo_leases", study_id)


def open_and_ask(study: str) -> None:
    """Open the study and print what that and what trials under each sampler took, as a line of JSON."""
    found, identity = _found(study), own_identity()
    engine = open_engine(embedded_url(Settings.read().home))
    before, began, cpu = _resident("VmRSS"), time.monotonic(), time.process_time()
    opened = open_study(engine, found, OpenOptions(), identity.worker_id, identity, {"uid": "benchmark"})
    took = {
        "opening_seconds": time.monotonic() - began,
        "opening_cpu_seconds": time.process_time() - cpu,
        "before_bytes": before,
        "opened_bytes": _resident("VmRSS"),
    }
    number = len(opened.cache.get_all_trials(opened.study_id, deepcopy=False))
    for name, sampler in SAMPLERS.items():
        changed = replace(found.study, sampler=sampler)
        began = time.monotonic()
        ask_tell = AskTell(changed, opened.study_id, opened.cache, Path("checkpoints"), "here", 1)
        counts = LiveCounts(opened.cache, opened.study_id, ask_tell.claimed)
        parts: dict[str, list[float]] = {"ask": [], "report": [], "tell": []}
        heard = _one(ask_tell, counts, number, parts, 0)
        took[f"{name}_first_seconds"] = time.monotonic() - began
        parts = {"ask": [], "report": [], "tell": []}
        for more in range(1, ASKED):
            heard = _one(ask_tell, counts, number + more, parts, heard)
        number += ASKED
        for part, seconds in parts.items():
            took |= {f"{name}_{part}_seconds": median(seconds), f"{name}_{part}_most": max(seconds)}
    took |= {"peak_bytes": _resident("VmHWM"), "held_bytes": _resident("VmRSS")}
    engine.dispose()
    print(json.dumps({key: round(value, 4) for key, value in took.items()}))


def _one(ask_tell: AskTell, counts: LiveCounts, number: int, parts: Mapping[str, list[float]], heard: int) -> int:
    """One trial from claim to result, in memory alone."""
    began = time.perf_counter()
    trial = ask_tell.sample(Claim(trial_id=10**9 + number, number=number, attempt=1, checkpoint=None, fresh=True))
    asked = time.perf_counter()
    ask_tell.cache.report(EpochRow(trial.trial_id, 2), [(2, 0.5)])
    trial.reported([(2, 0.5)])
    ask_tell.should_prune(trial)
    reported = time.perf_counter()
    ask_tell.tell(trial.trial_id, TrialState.COMPLETE, [random.random()], {"config": trial.config}, {})
    changed, heard = ask_tell.cache.finished_since(heard)
    counts.update(changed)
    told = time.perf_counter()
    for part, seconds in zip(
        ("ask", "report", "tell"), (asked - began, reported - asked, told - reported), strict=True
    ):
        parts[part].append(seconds)
    return heard


def _resident(field: str) -> int:
    """VmRSS: resident memory of this process now; VmHWM: the most it had. Bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0
