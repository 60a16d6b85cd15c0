"""No declared training imports torch's compiler, which takes as long as torch itself, unless the model does."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils import flop_counter
from training_jobs import MakeJob

from hpo.models.build import trace
from hpo.torch_internals import COMPILER, DISABLED, spare_the_compiler
from hpo.training.fit import fit
from hpo.training.kernels import native
from hpo.training.kernels.calibration import Stopwatch, measure_chains
from hpo.training.kernels.choice import DEFAULT
from hpo.training.progress import StopRequest
from hpo.training.train_val_split import DataCache

HEAVY = (COMPILER, "torch._inductor", "sympy")


class Refuses:
    """A finder that lets nobody import what is heavy."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        assert name not in HEAVY, name


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch as it is where nothing has imported its compiler yet."""
    for name in [name for name in sys.modules if name.startswith(HEAVY)]:
        monkeypatch.delitem(sys.modules, name)
    counting = vars(flop_counter._FlopCounterMode)
    for method in (*vars(Optimizer).values(), counting["__torch_dispatch__"]):
        if hasattr(getattr(method, "__wrapped__", None), DISABLED):
            monkeypatch.delattr(method.__wrapped__, DISABLED)
    kept = [finder for finder in sys.meta_path if type(finder).__module__ != "hpo.torch_internals"]
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *kept])


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("settings", [{"optimizer": "adam"}, {"optimizer": "sgd", "clip_norm": 1.0}], ids=str)
def test_a_declared_training(
    settings: dict[str, object], make_job: MakeJob, data: DataCache, device: torch.device
) -> None:
    assert fit(make_job(**settings), data, device, lambda _: None, StopRequest()).outcome == "complete"


@pytest.mark.usefixtures("fresh")
def test_the_cost_of_a_network() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(12, 2)
    )
    before = torch.get_rng_state()
    assert trace(network, (1, 4, 4)) == (3 * 9 * 4 + 12 * 2, [2, 2])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_something_else_imports_finds_torch_as_it_was() -> None:
    spare_the_compiler()
    spared = [method.__wrapped__ for method in vars(Optimizer).values() if hasattr(method, "__wrapped__")]
    spared = [function for function in spared if hasattr(function, DISABLED)]
    assert len(spared) == 2
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Refuses)]
    assert importlib.util.find_spec(COMPILER) is not None
    assert not any(hasattr(function, DISABLED) for function in spared)


@pytest.mark.usefixtures("fresh")
def test_what_is_measured_before_the_first_trial() -> None:
    """The compiler took half of the time for measuring, so that what came last never was, and 160 MB."""
    spare_the_compiler()
    watch = Stopwatch(100.0)
    measure_chains(watch, "lenet", DEFAULT)
    assert len(watch.timings) == (2 if native.library("chain") is not None else 0)
