"""Jobs on scikit-learn's digits, small enough to train in a fraction of a second: fixtures for both storeys."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hpo.data import DATASETS
from hpo.data.files import Folders
from hpo.messages import Job, Protocol
from hpo.models import MODELS
from hpo.training.device import open_device
from hpo.training.kernels import channels_last, convolutions, fused_train_step, native
from hpo.training.train_val_split import DataCache

PROTOCOL: dict[str, Any] = {
    "epochs": 3,
    "objectives": ["val_accuracy"],
    "subset": 300,
}
MLP = {"layers": 2, "hidden_units": [32, 16], "batch_size": 32, "lr": 1e-2}

MakeJob = Callable[..., Job]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def kernels_are_compiled_elsewhere(home: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled kernels go to a folder of this run, not to .hpo in the working folder, however long that takes."""
    monkeypatch.setenv("HPO_HOME", str(home))
    monkeypatch.setattr(native, "COMPILE_SECONDS", 600.0)


@pytest.fixture(scope="session")
def compiler_works(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether what training compiles with makes a library of an empty file."""
    folder = tmp_path_factory.mktemp("compiler")
    (folder / "empty.c").touch()
    try:
        native._compile([str(folder / "empty.c")], folder / "empty.so")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@pytest.fixture(autouse=True)
def kernels_are_needed(
    request: pytest.FixtureRequest, kernels_are_compiled_elsewhere: None, compiler_works: bool
) -> None:
    """A test marked `kernels` is skipped without a compiler, and fails where one has not made them."""
    if request.node.get_closest_marker("kernels"):
        if not compiler_works:
            pytest.skip("kernels: no C compiler that works")
        for module in (channels_last, convolutions, fused_train_step):
            assert module._tried_kernels() is not None, f"{module.__name__} goes without kernels"


@pytest.fixture
def device() -> torch.device:
    """Opened for each test: it changes the arithmetic of the whole thread, which is put back after the test."""
    return open_device("cpu")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(None, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data(folders: Folders) -> DataCache:
    return DataCache(folders, torch.device("cpu"))


@pytest.fixture
def make_job() -> MakeJob:
    """make_job(model="mlp", builder=None, checkpoint="", phase="search", protocol={}, parts={}, **config) -> Job on
    digits."""

    def make(
        model: str = "mlp",
        *,
        builder: str | None = None,
        checkpoint: Path | str = "",
        phase: str = "search",
        protocol: dict[str, Any] | None = None,
        dataset: dict[str, Any] | None = None,
        parts: dict[str, Any] | None = None,
        **config: Any,
    ) -> Job:
        row = DATASETS["digits"]
        described = {
            "name": "digits",
            "loader": row.loader,
            "shape": list(row.shape),
            "classes": list(row.classes),
            "validation": row.validation,
        }
        return Job(
            trial_id=7,
            number=0,
            config={**MLP, **config},
            protocol=Protocol.from_json({**PROTOCOL, **(protocol or {})}),
            model={"builder": builder or MODELS[model].builder, "reads": list(MODELS[model].reads)},
            dataset={**described, **(dataset or {})},
            seed=42,
            checkpoint=str(checkpoint),
            phase=phase,
            parts=parts or {},
        )

    return make


def part(name: str, *reads: str, direction: str = "") -> dict[str, Any]:
    """A part of parts_of_training, as a job describes it."""
    described: dict[str, Any] = {"function": f"parts_of_training:{name}", "reads": list(reads)}
    return {**described, "direction": direction} if direction else described


def chosen(kind: str, name: str, *reads: str) -> dict[str, Any]:
    return {kind: {name: part(name, *reads)}}


METRICS = {
    "errors": part("error_rate", direction="minimize"),
    "counted": part("Counted", "weight", direction="maximize"),
}
OWN_PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "loss": (chosen("loss", "softened", "gamma"), {"loss": "softened", "gamma": 2.0, "dropout": 0.2}),
    "loss of a class": (chosen("loss", "Margin", "margin"), {"loss": "Margin", "margin": 1.0}),
    "optimizer with a count": (chosen("optimizer", "sign_descent"), {"optimizer": "sign_descent", "lr": 1e-3}),
    "optimizer by layer": (chosen("optimizer", "by_layer", "share"), {"optimizer": "by_layer", "share": 0.1}),
    "schedule": (chosen("schedule", "triangle"), {"schedule": "triangle", "warmup_epochs": 0.5}),
    "metrics": ({"metrics": METRICS}, {"weight": 2.0, "schedule": "plateau", "schedule_metric": "counted"}),
}
"""By kind: the parts of a job, and the configuration that chooses them."""
