"""The end of the final phase: the test split is opened and read once, and the model is saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from hpo.atomic_file import write_atomically
from hpo.data.image_set import ImageSet
from hpo.data.streamed_set import StreamedSet
from hpo.data.tensor_set import TensorSet
from hpo.messages import Job
from hpo.models.build import size_bytes
from hpo.own_messages import final_names
from hpo.study.tasks import TASKS
from hpo.training.augmenting import laid_out
from hpo.training.checkpoint import separate
from hpo.training.configuration import Recipe
from hpo.training.losses import losses
from hpo.training.metrics import MetricSet
from hpo.training.mistakes import shown
from hpo.training.scoring import latency_ms, score_test
from hpo.training.tasks import output_shape, task_of
from hpo.training.test_details import picture
from hpo.training.train_state import TrainState, model_parameters
from hpo.training.train_val_split import DataCache

__all__ = ["export", "keep_last_and_best", "score_final"]


def score_final(
    job: Job, recipe: Recipe, model: nn.Module, data: DataCache, device: torch.device
) -> tuple[dict[str, float], dict[str, Any]]:
    """(metrics, facts) of the test split.

    metrics: test_loss, latency_ms, test_accuracy where the task has one, each metric that the study names as test_NAME
    facts:   confusion, per_class_accuracy, macro_f1, images_per_second, test_images, latency_p50_ms,
             latency_p95_ms, model_bytes, and what TestDetails says of the task; picture: of the first masks;
             mistakes: of hpo.training.mistakes.shown, of images that have a class
    """
    test = data.test(job, data.parts(job).images)
    batch = laid_out(test, recipe)
    index = torch.arange(len(test), device=device)
    report = score_test(
        model,
        batch,
        index,
        len(job.dataset["classes"]),
        recipe,
        device,
        loss=losses(job, recipe, device).validation,
        metrics=MetricSet(job, device),
        task=task_of(job),
    )
    median, slow = latency_ms(model, batch(index[:1])[0], recipe, device)
    metrics = {"test_loss": report.loss, "latency_ms": median}
    if report.accuracy is not None:
        metrics["test_accuracy"] = report.accuracy
    metrics |= {final_names(name)[0]: value for name, value in report.metrics.items()}
    facts = {
        **report.facts(),
        **_pictured(test, report.masks),
        **(shown(report.mistakes, test, job.dataset["shape"], data.test_files(job)) if report.mistakes else {}),
        "test_images": len(test),
        "latency_p50_ms": median,
        "latency_p95_ms": slow,
        "model_bytes": size_bytes(model),
    }
    return metrics, facts


def _pictured(test: ImageSet | TensorSet | StreamedSet, masks: Tensor | None) -> dict[str, str]:
    if masks is None or not isinstance(test, ImageSet):
        return {}
    return {"picture": picture(test.images[: len(masks)], test.labels[: len(masks)], masks)}


def export(
    job: Job,
    model: nn.Module,
    images: ImageSet | TensorSet | StreamedSet,
    metrics: Mapping[str, float],
    warn: Callable[[str], None],
) -> None:
    """Write model.safetensors and config.json into `job.checkpoint`: all that is needed to rebuild and use the model.

    The input is (pixels / 255 - mean) / std, [N, C, H, W]. A full disk gives a warning; the result is kept.
    """
    if not job.checkpoint:
        return
    description: dict[str, Any] = {
        "model": job.model["builder"],
        "parameters": model_parameters(job),
        "dataset": job.dataset["name"],
        "shape": job.dataset["shape"],
        "classes": list(job.dataset["classes"]),
        "task": task_of(job),
        **_of_own_task(job),
        **images.describe(),
        "config": job.config,
        "subset": job.protocol.subset,
        "seed": job.seed,
        "metrics": dict(metrics),
        **{name: job.dataset[name] for name in ("fit", "dtype", "below") if name in job.dataset},
    }
    _save_weights(job, "model", model, warn)
    _write(job, "config.json", json.dumps(description, indent=1).encode(), warn)


def _of_own_task(job: Job) -> dict[str, Any]:
    """The outputs of a task of the user's own, and the function that says what they mean."""
    if task_of(job) in TASKS:
        return {}
    predict = job.parts.get("of_task", {}).get("predict")
    reads = {name: job.config[name] for name in predict["reads"] if name in job.config} if predict else {}
    said = {"predict": {"function": predict["function"], "parameters": reads}} if predict else {}
    return {"outputs": output_shape(job), **said}


def keep_last_and_best(job: Job, state: TrainState, warn: Callable[[str], None]) -> None:
    """Write last.safetensors and best.safetensors into `job.checkpoint`; afterwards the state has its best weights."""
    with state.eval_weights() as last:
        _save_weights(job, "last", last, warn)
    state.restore_best()
    _save_weights(job, "best", state.model, warn)


def _save_weights(job: Job, name: str, model: nn.Module, warn: Callable[[str], None]) -> None:
    """Write `name`.safetensors, the state of `model`, into `job.checkpoint`."""
    _write(job, f"{name}.safetensors", save(separate(model.state_dict())), warn)


def _write(job: Job, name: str, payload: bytes, warn: Callable[[str], None]) -> None:
    if not job.checkpoint:
        return
    folder = Path(job.checkpoint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, payload, durable=True)
    except OSError as error:
        warn(f"the model could not be saved: {error.strerror or error} in {folder}")
