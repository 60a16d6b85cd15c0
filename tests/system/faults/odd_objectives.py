"""Objectives that do what they should not, one for each trial, by its number; CASES says what becomes of each."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

KEPT: list[Any] = []
PRUNED = object()
"""In CASES: pruned, and nothing failed."""
OUT_OF_MEMORY = object()
"""In CASES: pruned, and its constraint tells the sampler why."""


def none(trial: Any) -> Any:
    trial.suggest_float("x", 0, 1)


def text(trial: Any) -> Any:
    return "high"


def too_many(trial: Any) -> Any:
    return [1.0, 2.0]


def tensor(trial: Any) -> Any:
    return torch.tensor(0.25)


def array(trial: Any) -> Any:
    return np.float32(0.5)


def nan(trial: Any) -> Any:
    return float("nan")


def reports_nan(trial: Any) -> Any:
    trial.report(float("nan"), 0)
    return float("nan")


def prunes_at_nan(trial: Any) -> Any:
    trial.report(float("nan"), 0)
    raise optuna.TrialPruned


def raises(trial: Any) -> Any:
    raise ZeroDivisionError("by the user")


def leaves(trial: Any) -> Any:
    sys.exit(3)


def twice(trial: Any) -> Any:
    trial.report(0.3, 1)
    trial.report(0.4, 1)
    trial.report(0.5, 0)
    return 0.75


def no_step(trial: Any) -> Any:
    trial.report(0.3, -1)


def other_kind(trial: Any) -> Any:
    trial.suggest_float("y", 0, 1)
    trial.suggest_int("y", 0, 1)


def other_range(trial: Any) -> Any:
    first = trial.suggest_float("z", 0, 1)
    second = trial.suggest_float("z", 5, 6)
    return float(first == second)


def empty_range(trial: Any) -> Any:
    trial.suggest_float("w", 2, 1)


def not_json(trial: Any) -> Any:
    trial.suggest_categorical("loss", [torch.nn.ReLU, torch.nn.Tanh])


def moves(trial: Any) -> Any:
    os.chdir("/")
    os.environ["HPO_TEST_MOVED"] = "1"
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(3)
    torch.set_default_dtype(torch.float64)
    return 0.5


def moved(trial: Any) -> Any:
    untouched = os.getcwd() != "/" and "HPO_TEST_MOVED" not in os.environ and torch.get_num_threads() == 1
    return float(untouched and torch.get_default_dtype() == torch.float32)


def thread(trial: Any) -> Any:
    other = threading.Thread(target=lambda: trial.report(0.9, 3))
    other.start()
    other.join()
    return 0.9


def fork(trial: Any) -> Any:
    child = os.fork()
    if not child:
        with suppress(RuntimeError):
            trial.report(0.1, 0)
            os._exit(1)
        os._exit(0)
    return float(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def fork_comes_back(trial: Any) -> Any:
    """Both processes return; the one that is the trial's gives its value."""
    trial.report(0.5, 0)
    return 0.25 if os.fork() else 1.0


def out_of_memory(trial: Any) -> Any:
    trial.suggest_int("rows", 3, 3)
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


def keeps(trial: Any) -> Any:
    KEPT.append(trial)
    return 0.5


def uses_kept(trial: Any) -> Any:
    try:
        KEPT[0].report(0.5, 0)
    except RuntimeError as error:
        return float("ended" in str(error))


def prints(trial: Any) -> Any:
    for _ in range(200):
        print("x" * 10_000)
    return 0.5


def seeded(trial: Any) -> Any:
    return random.random()


def past(trial: Any) -> Any:
    study = trial.study
    trial.set_constraint("size", -1.0)
    trial.set_user_attr("config", {"a": 1})
    assert study.best_value == max(one.value for one in study.trials if one.state.name == "COMPLETE")
    assert isinstance(study.best_params, dict)
    study.set_user_attr("seen", trial.number)
    with suppress(AttributeError):
        study.enqueue_trial({"x": 1})
    return 0.5


def artifact(trial: Any) -> Any:
    """As the script of Optuna's own example does it."""
    folder = tempfile.mkdtemp()
    file = Path(folder) / "note.txt"
    file.write_text("kept")
    store = FileSystemArtifactStore(folder)
    name = upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=trial)
    with store.open_reader(name) as kept:
        return float(kept.read() == b"kept" and isinstance(trial, optuna.Trial))


def fresh(trial: Any) -> Any:
    return float(trial.distributions == {} and trial.params == {})


def swallows(trial: Any) -> Any:
    with suppress(BaseException):
        trial.report(0.5, 0)
        raise KeyboardInterrupt
    return 0.5


def stops(trial: Any) -> Any:
    trial.study.stop()
    return 0.5


LEFT = "left-by-an-objective"
LEFT_RUNNING: list[Any] = []


def leaves_processes(trial: Any) -> Any:
    """One that waits for ever, one that does not hear SIGTERM, and a fork; `terminate` ends them, as elsewhere."""
    wait = "import signal, sys, time; signal.signal(signal.SIGTERM, {}); print(0, flush=True); time.sleep(600)"
    for heard in ("signal.SIG_DFL", "signal.SIG_IGN"):
        left = subprocess.Popen([sys.executable, "-c", wait.format(heard), LEFT], stdout=subprocess.PIPE)
        assert left.stdout is not None
        left.stdout.readline()
        LEFT_RUNNING.append(left)
    forked = get_context("fork").Process(target=time.sleep, args=(600,))
    forked.start()
    forked.terminate()
    forked.join(60)
    plain = subprocess.Popen(["sleep", "600"])
    plain.terminate()
    return 0.5 if (plain.wait(60), forked.exitcode) == (-signal.SIGTERM, -signal.SIGTERM) else None


CASES: dict[Any, Any] = {  # what it does: its value, or the end of the reason why it has none
    none: "objective: it returned None, which is not a number",
    text: "objective: it returned 'high', which is not a number",
    too_many: "objective: it returned 2 values, and the study has 1 directions",
    tensor: 0.25,
    array: 0.5,
    nan: "it returned nan",
    reports_nan: "it returned nan",
    prunes_at_nan: PRUNED,
    raises: "ZeroDivisionError: by the user",
    leaves: "SystemExit: 3",
    twice: 0.75,
    no_step: "must be non-negative, and below 2**31, which a database can hold.",
    other_kind: "'IntDistribution', 'attributes': {'log': False, 'step': 1, 'low': 0, 'high': 1}}",
    other_range: 1.0,
    empty_range: "`low <= high` must hold, but got (low=2.0, high=1.0).",
    not_json: "{'relu': nn.ReLU}[trial.suggest_categorical(...)]",
    moves: 0.5,
    moved: 1.0,
    thread: 0.9,
    leaves_processes: 0.5,
    fork: 0.0,
    fork_comes_back: 0.25,
    out_of_memory: OUT_OF_MEMORY,
    keeps: 0.5,
    uses_kept: 1.0,
    prints: 0.5,
    past: 0.5,
    artifact: 1.0,
    fresh: 1.0,
    swallows: 0.5,
    seeded: None,
    stops: 0.5,
}


def objective(trial: Any) -> Any:
    return list(CASES)[trial.number](trial)
