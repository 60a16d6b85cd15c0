"""Faster ways are a matter of speed alone: without them, or without torch's private names, training is the same."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from training_jobs import MakeJob

import hpo
from hpo import torch_internals
from hpo.settings import Settings
from hpo.training.configuration import Recipe
from hpo.training.device import supports_bf16
from hpo.training.fast_paths import fused, use_settings
from hpo.training.fit import fit
from hpo.training.kernels import native
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


def watch(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every model that is trained without autograd from now on."""
    used: list[object] = []

    def watched(*given: Any) -> Any:
        result = fused(*given)
        used.extend([] if result is None else [result])
        return result

    monkeypatch.setattr("hpo.training.train_state.fused", watched)
    return used


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


@pytest.mark.kernels
def test_settings_that_a_process_is_given_outdo_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    """Whether there are fast ways, and where their kernels are kept."""
    monkeypatch.setattr("hpo.training.fast_paths._settings", None)
    monkeypatch.setattr(native, "_home", None)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    recipe = Recipe.read({"batch_size": 4, "lr": 0.1})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    use_settings(Settings(home=tmp_path, native=False))
    assert fused(model, (1, 8, 8), optimizer, recipe, device) is None
    monkeypatch.setenv("XDG_CACHE_HOME", "none")  # no folder of its own
    use_settings(Settings(home=tmp_path))
    assert fused(model, (1, 8, 8), optimizer, recipe, device) is not None
    assert native.library.__wrapped__("channels_last") is not None
    assert [path.parent for path in tmp_path.rglob("*.so")] == [tmp_path / "cache" / "kernels"]


@pytest.mark.parametrize("names", ["MODULE_HOOKS", "TENSOR_HOOKS"])
def test_a_network_is_trained_by_autograd_where_torch_names_its_hooks_otherwise(
    names: str, make_job: MakeJob, data: DataCache, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network with a hook that nobody sees would be trained wrongly without autograd."""
    monkeypatch.setattr(torch_internals, names, ("_renamed_hooks",))
    assert torch_internals.missing() == ("_renamed_hooks",)
    used = watch(monkeypatch)
    assert len(losses(make_job, data, device, {"optimizer": "adam"})) == 3
    assert used == []


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
    used = watch(monkeypatch)
    assert len(losses(make_job, data, device, {"optimizer": "adam"})) == 3
    assert used == []


def test_only_one_file_knows_private_names_of_torch() -> None:
    """So that a new torch is met there. Names that a file gives to its own objects do not count."""
    root = Path(hpo.__file__).parent
    files = [*(root / "training").rglob("*.py"), *(root / "inference").rglob("*.py"), *root.glob("*.py")]
    files += [path for folder in ("models", "data") for path in (root.parent / folder).rglob("*.py")]
    found = [f"{path.name}: {name}" for path in files for name in private_names(ast.parse(path.read_text()))]
    assert [name for name in found if not name.startswith("torch_internals.py")] == []
    assert any(name.startswith("torch_internals.py") for name in found)


def private_names(tree: ast.Module) -> list[str]:
    """`thing._name`, and `getattr(thing, "_name", ...)`, where nothing in the file has that name."""
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"}
    own |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)} | {"_exit"}
    used = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    used += [
        str(ast.literal_eval(node.args[1]))
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and isinstance(node.args[1], ast.Constant)
    ]
    return [name for name in used if name.startswith("_") and not name.startswith("__") and name not in own]


def test_bf16_is_known_of_a_processor_where_torch_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.9."""
    cpu = torch.device("cpu")
    known = supports_bf16(cpu)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert supports_bf16(cpu) == known
