"""Run by test_changed_optuna.py with an Optuna that lacks a private name: a search without training, then commands.

Prints one JSON object: what the search proposed and pruned, what hpo said of the sampler, and what the commands print.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from hpo import TPE, Categorical, Float, Int, MedianPruner, Study
from hpo.cli.main import run_command
from hpo.search.ask_tell import AskTell
from hpo.storage import queries
from hpo.storage.engine import open_engine
from hpo.storage.queries import EpochRow
from hpo.storage.schema import ensure_schema
from hpo.storage.study_cache import StudyCache

TRIALS = 14


def make_study(name: str) -> Study:
    return Study(
        name=name,
        dataset="digits",
        model="shallow",
        space={
            "batch_size": Int(3, 100),
            "hidden_units": Int(8, 64),
            "optimizer": Categorical("adam", "sgd"),
            "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
            "lr": Float(1e-5, 1e-1, log=True),
        },
        baseline={"batch_size": 64, "hidden_units": 32, "optimizer": "adam", "lr": 1e-3},
        epochs=3,
        sampler=TPE(startup_trials=4),
        pruner=MedianPruner(startup_trials=3),
    )


def search(url: str, study: Study) -> dict[str, Any]:
    engine = open_engine(url)
    ensure_schema(engine)
    direction = StudyDirection.MAXIMIZE
    with engine.begin() as connection:
        study_id = queries.create_study(connection, study.name, (direction,))
        queries.register(
            connection, study_id, fingerprint=study.fingerprint(), declaration=study.declaration(),
            source="", seed=0, facts={"uid": study.name},
        )  # fmt: skip
    cache = StudyCache(study_id, study.name, (direction,))
    asker = AskTell(study, study_id, cache, Path("checkpoints"), "host", 1)
    for _ in range(TRIALS):
        with engine.begin() as connection:
            (claim,) = asker.claim(connection, "worker", 30.0, 1)
            asker.synchronise(connection, [claim.trial_id])
        trial = asker.sample(claim)
        state, value = TrialState.COMPLETE, 0.0
        for epoch in range(1, study.epochs + 1):
            value = 0.9 - 0.01 * abs(trial.params["hidden_units"] - 40) - 0.5 * trial.params["lr"] + 0.01 * epoch
            cache.report(EpochRow(trial.trial_id, epoch, val_accuracy=value), [(epoch, value)])
            trial.reported([(epoch, value)])
            if asker.should_prune(trial):
                state = TrialState.PRUNED
                break
        constraints = {"memory": 1.0} if trial.number == 3 else {}
        asker.tell(trial.trial_id, state, [value], {"config": trial.config}, constraints)
        with engine.begin() as connection:
            assert not queries.save(connection, cache.take_writes(), "worker").lost
    engine.dispose()
    return {
        "note": asker.note,
        "searched": [[trial.state.name, trial.params, trial.values, trial.constraints] for trial in asker.trials()],
    }


def command(*words: str) -> Any:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        code = run_command(list(words))
    return [code, printed.getvalue()]


CLOCKED = ("started", "seconds", "cost", "pace", "pruning")


def timeless(answer: Any) -> Any:
    """An answer in JSON without what the clock decides."""
    if isinstance(answer, dict):
        return {key: timeless(value) for key, value in answer.items() if key not in CLOCKED}
    return [timeless(value) for value in answer] if isinstance(answer, list) else answer


def main() -> None:
    url, name, folder = sys.argv[1:]
    found = search(url, make_study(name))
    where = ("--study", name, "--storage", url)
    for word in ("status", "best", "trials"):
        code, printed = command(word, *where, "--json")
        found[word] = [code, timeless(json.loads(printed))]
    code, _ = command("report", *where, "--out", folder)
    found["report"] = [code, sorted(path.name for path in Path(folder).iterdir())]
    print(json.dumps({"optuna": optuna.__file__, **found}).replace(name, "NAME"))


if __name__ == "__main__":
    main()
