"""What can be known about a study before its first trial: whether every branch builds and the images are there, and
what a step costs.

Networks are built on the meta device, where a thousand layers take no memory and no time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from hpo.data.streamed_set import StreamedSet
from hpo.errors import DataError, HpoError
from hpo.messages import Inspect, Inspected, Job
from hpo.models.build import build_model, count_parameters, resolve, trace
from hpo.models.inputs import Shape, shape_of
from hpo.study.tasks import TASKS
from hpo.training.configuration import Recipe
from hpo.training.device import peak_memory_bytes, reset_peak_memory, set_deterministic, synchronize
from hpo.training.odd_metrics import odd_metrics, score_some
from hpo.training.parts_check import check_parts
from hpo.training.sample import sample
from hpo.training.tasks import output_shape, random_outputs, task_of
from hpo.training.train_state import TrainState, model_parameters
from hpo.training.train_val_split import DataCache, TrainValSplit
from hpo.user_code import definition_of, line_of, named_error

__all__ = ["inspect_study"]

STEPS, SECONDS = 5, 3.0
"""How many steps a rehearsal times, and the seconds after which fewer are enough."""

SCORED_AT_MOST, SCORED = 512, 4
"""Samples of the validation part; batches of those that must be loaded."""

Problem = dict[str, Any]


def inspect_study(request: Inspect, data: DataCache, device: torch.device, *, record: bool = True) -> Inspected:
    """Build every configuration, then load the images, then rehearse if asked. It stops at the first problem.

    record: whether steps may be recorded, as for hpo.training.fit.fit
    """
    jobs = [replace(request.job, config=config) for config in request.configs]
    costs: list[dict[str, Any]] = []
    for job in jobs:
        cost = _build(job)
        if "fact" in cost:
            return Inspected(problem=cost)
        costs.append(cost)
    try:
        split = data.parts(jobs[0])
        for job in jobs:
            if job.parts:
                check_parts(job, split, partial(random_outputs, job), device)
        about: dict[str, Any] = {"checksum": split.checksum}
        if not request.rehearse:
            return Inspected(None, costs, data=about)
        about |= _about(jobs[0], split, data)
        seen = sample(jobs[0], split, Path(request.sample)) if request.sample else {}
        rehearsals = _rehearsals(jobs, costs, data, device, record)
        about["notes"] += dict.fromkeys(note for one in rehearsals for note in one.pop("notes"))
        return Inspected(None, costs, rehearsals, seen, about)
    except HpoError as error:
        return Inspected(problem=_described(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a loader is the user's code and may raise anything
        return Inspected(problem=_unloaded(jobs[0], error))


def _about(job: Job, split: TrainValSplit, data: DataCache) -> dict[str, Any]:
    """How many samples of each class are trained and scored on, and what should be known before a search."""
    labels, names = split.images.labels, list(job.dataset["classes"])
    known = task_of(job) == "classification" and getattr(split.images, "labelled", True)
    parts = (split.train, split.validation) if known else ()
    counts = [torch.bincount(labels[part], minlength=len(names)).tolist() for part in parts]
    classes = {name: [count[at] for count in counts] for at, name in enumerate(names)} if known else {}
    try:
        note = data.overlap(job)
    except HpoError:
        raise
    except Exception as error:  # noqa: BLE001 - a loader is the user's code; a search can do without this split
        note = f"the test split, which hpo evaluate needs, cannot be loaded: {named_error(error)} ({line_of(error)})"
    return {"classes": classes, "notes": [note] if note else []}


def _build(job: Job) -> dict[str, Any]:
    """What the job's network costs, or the problem with it."""
    shape = shape_of(job.dataset)
    classes = output_shape(job)[0]
    try:
        try:
            network, (macs, logits) = _on(torch.device("meta"), job, shape, classes)
        except (RuntimeError, NotImplementedError):  # it may read values while it is built, which meta tensors lack
            with torch.random.fork_rng([]):
                network, (macs, logits) = _on(torch.device("cpu"), job, shape, classes)
    except DataError as error:
        return _described(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a builder is the user's code and may raise anything
        return _broken(job, error)
    wanted = [2, *output_shape(job)]
    if logits != wanted:
        fact = f"the model gives {logits} for two images of {classes} classes, expected {wanted}"
        task = TASKS.get(task_of(job))
        layer = task.outputs if task is not None else f"outputs of {wanted[1:]}, or give Task(outputs=...) what it has"
        return _problem(fact, [_branch(job)], f"let the builder's last layer have {layer}")
    return {"parameters": count_parameters(network), "macs": macs, "batch_size": job.config.get("batch_size")}


def _on(device: torch.device, job: Job, shape: Shape, classes: int) -> tuple[nn.Module, tuple[int, list[int]]]:
    with device:
        network = build_model(job.model["builder"], shape, classes, model_parameters(job))
        entered = [""]
        for name, module in network.named_modules():
            module.register_forward_pre_hook(lambda module, _, name=name: entered.append(f"{name}: {module}"))
        try:
            return network, trace(network, shape, job.dataset.get("dtype", "float32"))
        except Exception as error:
            error.add_note(f"in its module {entered[-1].splitlines()[0]}")
            raise


def _rehearsals(
    jobs: list[Job], costs: list[dict[str, Any]], data: DataCache, device: torch.device, record: bool
) -> list[dict[str, Any]]:
    """A few real steps of the configurations with the least and the most arithmetic per step."""
    order = sorted(range(len(jobs)), key=lambda index: (costs[index]["macs"] * costs[index]["batch_size"], index))
    chosen = dict.fromkeys([order[0], order[-1]])
    return [
        {"config": jobs[index].config, **costs[index], **_rehearse(jobs[index], data, device, record)}
        for index in chosen
    ]


def _rehearse(job: Job, data: DataCache, device: torch.device, record: bool) -> dict[str, Any]:
    """train_images, step_seconds, epoch_seconds (validation included) and peak_memory_bytes of real steps.

    notes: which metric is not a number after them. StudyError for one without which nothing can be decided.
    """
    reset_peak_memory(device)
    recipe, parts = Recipe.read(job.config, job.parts), data.parts(job)
    set_deterministic(recipe.deterministic)
    state = TrainState(job, recipe, parts, device, fold=0, record=record)
    batches = state.batches(0)
    first = state.step.first_steps  # they choose and prepare kernels, and record
    state.begin_epoch(recipe.freeze_epochs, [batches[number % len(batches)] for number in range(first + STEPS)])
    for number in range(first):
        state.step(batches[number % len(batches)])
    synchronize(device)
    steps, start = 0, perf_counter()
    while steps < STEPS and perf_counter() - start < SECONDS:
        state.step(batches[(first + steps) % len(batches)])
        synchronize(device)
        steps += 1
    step_seconds = (perf_counter() - start) / steps
    sample = parts.some_validation(
        SCORED * recipe.batch_size if isinstance(parts.images, StreamedSet) else SCORED_AT_MOST
    )
    start = perf_counter()
    scored = score_some(state, sample)
    validation_seconds = (perf_counter() - start) * len(parts.validation) / len(sample)
    return {
        "train_images": len(parts.train),
        "step_seconds": step_seconds,
        "epoch_seconds": step_seconds * len(batches) + validation_seconds,
        "peak_memory_bytes": peak_memory_bytes(device),
        "notes": odd_metrics(state, job, scored),
    }


def _unloaded(job: Job, error: BaseException) -> Problem:
    """The problem when a loader or a step of the rehearsal raises: it names the line of the user's code."""
    loader = str(job.dataset["loader"])
    evidence = [line_of(error) or f"in none of your files; data loader {loader}, builder {job.model['builder']}"]
    fact = f"the first batches cannot be made or trained on: {named_error(error)}"
    return _problem(fact, evidence, "fix that line, then run `hpo check` again")


def _broken(job: Job, error: BaseException) -> Problem:
    """The problem when a builder or a forward pass raises: it names the branch and the line of the model."""
    evidence = [f"branch: {_branch(job)}"]
    if isinstance(error, HpoError):
        return {**_described(error), "evidence": [*error.evidence, *evidence]}
    evidence += [line_of(error) or _definition(job), *getattr(error, "__notes__", ())[-1:]]
    fact = f"the model cannot be built: {named_error(error)}"
    return _problem(fact, evidence, "fix that line, or take the branch out of the space")


def _branch(job: Job) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in model_parameters(job).items())
    return f"{job.model['builder']}({parameters})"


def _definition(job: Job) -> str:
    """File and line of the builder; its name where it is not a Python function."""
    builder = str(job.model["builder"])
    return definition_of(resolve(builder, "model builder")) or builder


def _described(error: HpoError) -> Problem:
    return {
        "kind": type(error).__name__,
        "fact": error.fact,
        "evidence": list(error.evidence),
        "next": error.next,
    }


def _problem(fact: str, evidence: list[str], step: str) -> Problem:
    return {"kind": "StudyError", "fact": fact, "evidence": evidence, "next": step}
