"""Faster ways are a matter of speed alone: without them, or without torch's private names, training is the same."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from training_jobs import MakeJob

from hpo import torch_internals
from hpo.training.fast_paths import fast_layers, fused
from hpo.training.fit import fit
from hpo.training.progress import StopRequest
from hpo.training.train_val_split import DataCache

SETTINGS: list[dict[str, Any]] = [
    {"optimizer": "adam", "ema_decay": 0.9},
    {"optimizer": "adamw", "weight_decay": 0.1},
    {"optimizer": "sgd", "mixup_alpha": 0.2},
]


def losses(make_job: MakeJob, data: DataCache, device: torch.device, settings: dict[str, Any]) -> list[float]:
    found: list[float] = []
    job = make_job(**settings)
    ended = fit(job, data, device, lambda epoch: found.append(epoch.metrics["train_loss"]), StopRequest())
    assert ended.outcome == "complete"
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["optimizer"])
@pytest.mark.parametrize("name", torch_internals.NAMES)
def test_training_goes_on_without_a_private_name_of_torch(
    name: str,
    settings: dict[str, Any],
    make_job: MakeJob,
    data: DataCache,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch's public step takes over; what is missing is named."""
    monkeypatch.setitem(torch_internals._FOUND, name, None)
    assert torch_internals.missing() == (name,)
    found = losses(make_job, data, device, settings)
    assert len(found) == 3
    assert found[-1] < found[0]


@pytest.mark.parametrize("how", ["switched off", "not installed"])
def test_training_is_torch_s_own_without_the_kernels(
    how: str, make_job: MakeJob, data: DataCache, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HPO_NATIVE=0 takes none of them, and nothing else needs the folder."""
    if how == "switched off":
        monkeypatch.setenv("HPO_NATIVE", "0")
    else:
        for module in [name for name in sys.modules if name.startswith("hpo.training.kernels")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, "hpo.training.kernels", None)
    used: list[str] = []
    for name in ("fused", "fast_layers"):
        real = {"fused": fused, "fast_layers": fast_layers}[name]
        where = "hpo.training.train_state.fused" if name == "fused" else "hpo.training.step.fast_layers"

        def watched(*given: Any, real: Any = real, name: str = name) -> Any:
            result = real(*given)
            used.extend([name] if name == "fused" and result is not None else [])
            return result

        monkeypatch.setattr(where, watched)
    assert len(losses(make_job, data, device, {"optimizer": "adam"})) == 3
    assert used == []
