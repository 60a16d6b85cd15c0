"""Metrics of a trial's network itself, and of the baseline's network where a constraint compares the two."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from hpo.messages import Job
from hpo.models.build import count_macs, count_parameters
from hpo.models.inputs import shape_of
from hpo.training.configuration import Recipe
from hpo.training.scoring import latencies_ms, latency_ms
from hpo.training.train_state import build_network

__all__ = ["network_metrics"]


def network_metrics(
    job: Job, recipe: Recipe, model: nn.Module, image: Tensor, device: torch.device
) -> dict[str, float]:
    """latency_ms if the study asks for it; and baseline_latency_ms, baseline_parameters, baseline_macs if it compares.

    image: one normalised image [1, C, H, W] in the recipe's memory format. Both networks are timed in turns here and
    now, because the latency that trial 0 measured says more about that moment and that host.
    """
    baseline = job.protocol.compare_with
    if baseline is None:
        return {"latency_ms": latency_ms(model, image, recipe, device)[0]} if job.protocol.measure_latency else {}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        other = build_network(replace(job, config=baseline), recipe, device)
    compared: dict[str, float] = {
        "baseline_parameters": count_parameters(other),
        "baseline_macs": count_macs(other, shape_of(job.dataset), job.dataset.get("dtype", "float32")),
    }
    if job.protocol.measure_latency:
        (own, _), (others, _) = latencies_ms([model, other], image, recipe, device)
        compared |= {"latency_ms": own, "baseline_latency_ms": others}
    return compared
