"""Jobs and folders of the check, and how its steps train: in their own process, or with a trainer beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_check import some_cifar10
from hpo.data import DATASETS
from hpo.data.files import Folders
from hpo.messages import Epoch, Finished, Job, Message, Protocol, Ready
from hpo.models import MODELS
from hpo.trainers.process import TrainerProcess
from hpo.training.device import open_device
from hpo.training.fit import fit
from hpo.training.graphs import CaptureFailed
from hpo.training.outcomes import failure
from hpo.training.progress import StopRequest
from hpo.training.train_val_split import DataCache

__all__ = ["DEVICE", "ON_GPU", "Bench", "Trainer", "device_words", "make_job", "work_folder"]

DEVICE = os.environ.get("GPU_CHECK_DEVICE", "cuda")
ON_GPU = DEVICE == "cuda"


def work_folder() -> Path:
    """A fresh one for this process, on which HPO_HOME stands."""
    folder = Path(tempfile.mkdtemp(prefix="gpu-check-"))
    os.environ["HPO_HOME"] = str(folder / "home")
    return folder


def make_job(
    model: str = "mlp",
    *,
    builder: str = "",
    dataset: str = "digits",
    protocol: dict[str, Any] | None = None,
    checkpoint: Path | str = "",
    trial: int = 1,
    graphs: bool = False,
    **config: Any,
) -> Job:
    """A job of hpo's own model, or of a `builder` in odd_models.py. graphs: as Model(cuda_graphs=True)."""
    row = DATASETS[dataset]
    described: dict[str, Any] = {
        "builder": builder or MODELS[model].builder,
        "reads": [] if builder else list(MODELS[model].reads),
    }
    return Job(
        trial_id=trial,
        number=trial,
        config={"batch_size": 64, "lr": 1e-3, **config},
        protocol=Protocol.from_json({"epochs": 2, "objectives": ["val_accuracy"], **(protocol or {})}),
        model=described | ({"cuda_graphs": True} if graphs else {}),
        dataset={
            "name": dataset,
            "loader": row.loader,
            "shape": list(row.shape),
            "classes": list(row.classes),
            "validation": row.validation,
        }
        | (some_cifar10.described() if dataset == "cifar10" else {}),
        seed=42,
        checkpoint=str(checkpoint),
    )


class Bench:
    """Training in this process."""

    def __init__(self, folder: Path) -> None:
        self.device = open_device(DEVICE)
        source = os.environ.get("HPO_DATA_DIR")
        self.data = DataCache(Folders(Path(source) if source else None, folder / "cache"), self.device)

    def train(
        self, job: Job, stop: StopRequest | None = None, on_epoch: Callable[[Epoch], None] = lambda epoch: None
    ) -> tuple[str, list[float], str]:
        """(outcome, train loss of each epoch, reason); a recording that failed is an outcome of its own."""
        losses: list[float] = []

        def epoch(message: Epoch) -> None:
            losses.append(message.metrics["train_loss"])
            on_epoch(message)

        try:
            finished = fit(job, self.data, self.device, epoch, stop or StopRequest())
        except CaptureFailed as failed:
            return "not recorded", losses, str(failed)
        except Exception as error:  # noqa: BLE001 - as in a trainer
            finished = failure(job, error)
            error.__traceback__ = error.__context__ = error.__cause__ = None
        return finished.outcome, losses, finished.reason


class Trainer:
    """A trainer of hpo's, as a coordinator has it."""

    def __init__(self, device: str = f"{DEVICE}:0" if ON_GPU else DEVICE, share: float = 1.0) -> None:
        arguments = ("--memory-fraction", f"{share:.4f}") if ON_GPU else ()
        self.process = TrainerProcess(device, arguments=arguments, environ=os.environ)

    def receive(self, seconds: float) -> Message | None:
        """The next message; None where it is gone, or silent for so long."""
        connection = self.process.connection
        return self.process.receive() if connection.poll(max(0.0, seconds)) else None

    def train(self, job: Job, seconds: float = 60.0) -> Finished | None:
        self.process.send(job)
        while (message := self.receive(seconds)) is not None:
            if isinstance(message, Finished):
                return message
            assert isinstance(message, Epoch | Ready)
        return None

    def end(self) -> None:
        self.process.kill()


def device_words() -> str:
    """The device by its vendor's name, and torch."""
    name = torch.cuda.get_device_name() if ON_GPU and torch.cuda.is_available() else "CPU"
    return f"{name}, torch {torch.__version__} (CUDA {torch.version.cuda})"
