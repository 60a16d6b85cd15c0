"""How good a model is: loss and accuracy of a split in large batches, the test report, and the latency of one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import quantiles
from time import perf_counter, thread_time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpo.data.augment import both_ways
from hpo.data.samples import named
from hpo.data.streamed_set import ReadAhead
from hpo.training.configuration import Recipe
from hpo.training.cuda_errors import memory_error
from hpo.training.device import release_memory, synchronize
from hpo.training.losses import LossFunction
from hpo.training.metrics import MetricSet
from hpo.training.mistakes import MistakeFinder
from hpo.training.running_metrics import RunningMetrics, count_hits
from hpo.training.step import Batch, precision
from hpo.training.tasks import Count, count_for, no_hits
from hpo.training.test_details import TestDetails

__all__ = ["ImagesAtOnce", "TestReport", "latencies_ms", "latency_ms", "score", "score_test"]

LATENCY_IMAGES = 100
LATENCY_SECONDS = 2.0
MOST_AT_ONCE = {"cpu": 512, "cuda": 4096}
"""On a CPU the activations of larger batches leave the cache; larger batches keep a GPU busier."""
VALUES_AT_ONCE = 4096 * 3 * 32 * 32
"""Of pixels: larger images are scored fewer at a time on a GPU."""


class ImagesAtOnce:
    """How many images are scored at a time: half as many from then on whenever the memory of a GPU holds no more.

    A network may enlarge its images, so what a batch needs shows only when it is tried.
    """

    def __init__(self, batch: Batch, index: Tensor, device: torch.device) -> None:
        self.count = MOST_AT_ONCE[device.type]
        self._ahead = batch if isinstance(batch, ReadAhead) else None
        if self._ahead is not None:
            self.count = self._ahead.most
        elif device.type == "cuda":
            values = max(1, sum(value.numel() for value in named(batch(index[:1])[0]).values()))
            self.count = max(1, min(self.count, VALUES_AT_ONCE // values))
        self._device = device

    def each(self, index: Tensor, judge: Callable[[Tensor], None]) -> Iterator[None]:
        """Before each part of `index` int64 [N] is judged, the caller's turn. `judge` counts only what it got through.

        Raises what `judge` does: out of memory only for a single image.
        """
        begun = 0
        if self._ahead is not None:
            self._ahead.expect(index.split(self.count))
        while begun < len(index):
            yield
            part = index[begun : begun + self.count]
            if self._judged(part, judge):
                begun += len(part)
            else:
                release_memory(self._device)
                self.count = max(1, len(part) // 2)

    def _judged(self, part: Tensor, judge: Callable[[Tensor], None]) -> bool:
        """False where memory ran out; the error, whose frames hold tensors, is gone on return."""
        try:
            judge(part)
        except Exception as error:
            if self._device.type != "cuda" or len(part) == 1 or memory_error(error) is None:
                raise
            return False
        return True


def score(
    model: nn.Module,
    batch: Batch,
    index: Tensor,
    recipe: Recipe,
    device: torch.device,
    interrupted: Callable[[], bool],
    *,
    logits_of: Callable[[Tensor], Tensor] | None = None,
    loss: LossFunction = F.cross_entropy,
    metrics: MetricSet | None = None,
    at_once: ImagesAtOnce | None = None,
    count: Count | None = count_hits,
) -> dict[str, float] | None:
    """val_loss, val_accuracy (with `count`) and `metrics` over the images at `index` int64 [N].

    None when `interrupted` between two batches.

    logits_of: a faster way to `model`'s forward pass in evaluation mode (Step.logits).
    at_once: what earlier calls have found out about the memory of the device
    The model is in training mode again afterwards. It draws no random numbers.
    """
    running = RunningMetrics(device)
    forward = _judged_by(logits_of or model, recipe)
    if metrics:
        metrics.reset()

    def judge(part: Tensor) -> None:
        images, labels = batch(part)
        logits = forward(images).float()
        value, hits = loss(logits, labels), (count or no_hits)(logits, labels)
        if metrics:
            metrics.add(logits, labels)
        running.add(value, hits, len(labels))
        running.images += len(labels)

    with _judging(model, recipe, device):
        for _ in (at_once or ImagesAtOnce(batch, index, device)).each(index, judge):
            if interrupted():
                return None
        found = metrics.compute() if metrics else {}
    mean_loss, accuracy = running.read()
    return {"val_loss": mean_loss, **({"val_accuracy": accuracy} if count else {}), **found}


@dataclass(frozen=True)
class TestReport:
    """The result on the test split: confusion[label][prediction] counts images; without classes it is empty.

    metrics: those that the study names; details: what a task says besides; masks: what it predicts of the first images
    mistakes: of MistakeFinder.found, empty where a sample has no class
    """

    loss: float
    accuracy: float | None
    confusion: list[list[int]]
    images_per_second: float
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    masks: Tensor | None = None
    mistakes: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """confusion, per_class_accuracy, macro_f1 (the unweighted mean of the classes' F1) and throughput."""
        if not self.confusion:
            return {"images_per_second": self.images_per_second, **self.details}
        table = torch.tensor(self.confusion, dtype=torch.float64)
        right, labelled, predicted = table.diagonal(), table.sum(1), table.sum(0)
        f1 = 2 * right / (labelled + predicted).clamp_min(1)
        return {
            "confusion": self.confusion,
            "per_class_accuracy": (right / labelled.clamp_min(1)).tolist(),
            "macro_f1": float(f1.mean()),
            "images_per_second": self.images_per_second,
            **self.details,
        }


def score_test(
    model: nn.Module,
    batch: Batch,
    index: Tensor,
    classes: int,
    recipe: Recipe,
    device: torch.device,
    *,
    loss: LossFunction = F.cross_entropy,
    metrics: MetricSet | None = None,
    task: str = "classification",
) -> TestReport:
    """One pass over the images at `index` int64 [N]."""
    count, details, mistakes = count_for(task), TestDetails(task, metrics, loss), MistakeFinder()
    running = RunningMetrics(device)
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    if metrics:
        metrics.reset()
    forward = _judged_by(model, recipe)
    start = perf_counter()

    def judge(part: Tensor) -> None:
        images, labels = batch(part)
        logits = forward(images).float()
        value, hits = loss(logits, labels), (count or no_hits)(logits, labels)
        if metrics:
            metrics.add(logits, labels)
        running.add(value, hits, len(labels))
        running.images += len(labels)
        details.add(logits, labels)
        if task == "classification":
            mistakes.add(logits, labels)
            confusion.add_(torch.bincount(labels * classes + logits.argmax(1), minlength=classes * classes))

    with _judging(model, recipe, device):
        for _ in ImagesAtOnce(batch, index, device).each(index, judge):
            pass
        found = metrics.compute() if metrics else {}
    mean_loss, accuracy = running.read()
    seconds = perf_counter() - start
    with torch.inference_mode():
        more = details.facts()
    classes_known = task == "classification"
    return TestReport(
        mean_loss,
        accuracy if count else None,
        confusion.reshape(classes, classes).tolist() if classes_known else [],
        len(index) / seconds,
        found,
        more,
        details.predicted,
        mistakes.found() if classes_known else {},
    )


def latency_ms(model: nn.Module, image: Tensor, recipe: Recipe, device: torch.device) -> tuple[float, float]:
    """(median, 95th percentile) of the milliseconds for one `image` [1, C, H, W], after ten that are not counted.

    On a CPU this is processor time (see latencies_ms).
    """
    return latencies_ms([model], image, recipe, device)[0]


def latencies_ms(
    models: Sequence[nn.Module], image: Tensor, recipe: Recipe, device: torch.device
) -> list[tuple[float, float]]:
    """As `latency_ms`, for several models in turns, so that a busy moment of the machine affects them all.

    On a CPU, where a trainer has one thread, its processor time counts: waiting for a core is the neighbours' doing.
    With fourteen processes on two cores, two equal networks differed by 60 % in elapsed time.
    """
    clock = perf_counter if device.type == "cuda" else thread_time
    times: list[list[float]] = [[] for _ in models]
    forwards = [_judged_by(model, recipe) for model in models]
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(_judging(model, recipe, device))
        begun = perf_counter()
        for count in range(LATENCY_IMAGES + 10):
            for forward, taken in zip(forwards, times, strict=True):
                start = clock()
                forward(image)
                synchronize(device)
                if count >= 10:
                    taken.append(1e3 * (clock() - start))
            if len(times[0]) >= 20 and perf_counter() - begun > LATENCY_SECONDS * len(models):
                break
    cuts = [quantiles(taken, n=20, method="inclusive") for taken in times]
    return [(cut[9], cut[18]) for cut in cuts]


def _judged_by(forward: Callable[[Tensor], Tensor], recipe: Recipe) -> Callable[[Tensor], Tensor]:
    return both_ways(forward) if recipe.test_flip else forward


@contextmanager
def _judging(model: nn.Module, recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Evaluation mode in the recipe's precision, without gradients; training mode again afterwards."""
    model.eval()
    try:
        with torch.inference_mode(), precision(recipe, device)():
            yield
    finally:
        model.train()
