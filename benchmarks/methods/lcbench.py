"""LCBench by its YAHPO surrogate: 34 classification tasks, 7 parameters, 52 epochs of validation accuracy and seconds.

HPO_LCBENCH names the folder with model.onnx, encoding.json and config_space.json of github.com/slds-lmu/yahpo_data
(`lcbench`). The surrogate is smooth and free of noise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.methods.problems import Curve, Reference
from hpo.study.parameters import Float, Int, Parameter
from hpo.study.space import Space

__all__ = ["EPOCHS", "LCBench", "lcbench_tasks"]

EPOCHS = 52
ROWS = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
"""In the order of the surrogate's numeric inputs, after the epoch."""

REFERENCES = Path(__file__).parent / "lcbench_references.json"
CONFIGURATIONS = 4000
"""How many random ones the references rest on."""


def lcbench_tasks(kind: str) -> list[LCBench]:
    """The tasks at even places of encoding.json's list ("develop"), at odd ones ("test"), or "all"."""
    folder = Path(os.environ["HPO_LCBENCH"])
    encoding = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
    declared = json.loads((folder / "config_space.json").read_text())["hyperparameters"]
    tasks = next(row["choices"] for row in declared if row["name"] == "OpenML_task_id")
    session = _Session(folder)
    space = Space({row["name"]: _row(row) for row in declared if row["name"] in ROWS})
    baseline = {row["name"]: row["default"] for row in declared if row["name"] in ROWS}
    wanted = {"develop": (0,), "test": (1,), "all": (0, 1)}[kind]
    places = sorted(encoding[task] for task in tasks)
    names = {place: task for task, place in encoding.items()}
    return [LCBench(names[place], place, session, space, baseline) for place in places if place % 2 in wanted]


class _Session:
    """The surrogate, loaded when it is first used, on one thread: a run must not depend on what else runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self._folder / "model.onnx"
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def curves(self, place: int, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Values and seconds of each epoch, [n, 52] each, of configurations [n, 7]."""
        count = len(points)
        epochs = np.tile(np.arange(1, EPOCHS + 1, dtype=np.float32), count)[:, None]
        numbers = np.concatenate([epochs, np.repeat(points, EPOCHS, axis=0)], axis=1)
        task = np.full((count * EPOCHS, 1), place, dtype=np.int32)
        found = self._session.run(None, {"x_cont": numbers, "x_cat": task})[0].reshape(count, EPOCHS, -1)
        # The output is the time since the start of training, which the surrogate does not keep from falling a little.
        times = np.maximum.accumulate(found[:, :, 0], axis=1)
        seconds = np.diff(times, axis=1, prepend=0.0)
        return found[:, :, 1], np.maximum(seconds, 1e-3 * times[:, -1:])


class LCBench:
    """One task; accuracies in per cent."""

    epochs = EPOCHS

    def __init__(self, task: str, place: int, session: _Session, space: Space, baseline: Mapping[str, Any]) -> None:
        self.name = f"lcbench {task}"
        self.space, self.baseline = space, baseline
        self._place, self._session = place, session

    @cached_property
    def reference(self) -> Reference:
        return Reference(**json.loads(REFERENCES.read_text())[self.name])

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        point = np.array([[config[name] for name in ROWS]], dtype=np.float32)
        values, seconds = self._session.curves(self._place, point)
        accuracies = tuple(values[0].astype(float).tolist())
        return Curve(accuracies, accuracies, tuple(seconds[0].astype(float).tolist()))

    def measure(self) -> Reference:
        """The reference, from random configurations: some seconds."""
        draw = np.random.default_rng(0)
        best, seconds = [], []
        for _ in range(CONFIGURATIONS // 500):
            points = [self.space.sample(lambda _, row: _drawn(draw, row)) for _ in range(500)]
            found = self._session.curves(
                self._place, np.array([[point[name] for name in ROWS] for point in points], dtype=np.float32)
            )
            best += found[0].max(axis=1).tolist()
            seconds += found[1].sum(axis=1).tolist()
        return Reference(*(round(float(number), 4) for number in (max(best), np.median(best), np.median(seconds))))


def _row(declared: Mapping[str, Any]) -> Parameter:
    kind = Int if declared["type"] == "uniform_int" else Float
    return kind(declared["lower"], declared["upper"], log=declared["log"])


def _drawn(draw: np.random.Generator, row: Parameter) -> int | float:
    assert isinstance(row, Int | Float)
    half = 0.5 if isinstance(row, Int) else 0.0
    low, high = row.low - half, row.high + half
    value = float(np.exp(draw.uniform(np.log(low), np.log(high)))) if row.log else float(draw.uniform(low, high))
    return min(max(round(value), row.low), row.high) if isinstance(row, Int) else value


def _references() -> Iterator[tuple[str, dict[str, float]]]:
    for task in lcbench_tasks("all"):
        yield task.name, vars(task.measure())
        print(task.name, flush=True)


if __name__ == "__main__":
    REFERENCES.write_text(json.dumps(dict(_references()), indent=1) + "\n")
