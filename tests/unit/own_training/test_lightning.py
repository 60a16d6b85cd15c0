"""Lightning itself, with a small network on the CPU: what hpo hears of a fit, and that it goes on bit for bit."""

from __future__ import annotations

import math
import queue
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from frameworks import needs
from run_coordinator import Coordinator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hpo.messages import Epoch, Inspect, Protocol
from hpo.own_messages import Answer, Question, Report
from hpo.own_training.inspection import inspect_function
from hpo.own_training.link import Link
from hpo.own_training.remote_trial import RemoteTrial
from hpo.own_training.run import Run
from hpo.training.progress import StopRequest

pytestmark = needs("lightning")
RULES = Protocol(epochs=5, objectives=("f1",))


def network(lr: float, **changed: Any) -> Any:
    """Dropout, a schedule by epoch and momentum: every random number and every state counts."""
    from lightning.pytorch import LightningModule

    class Network(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            changed.get("batches", []).append(index)
            if changed.get("fails") == (self.current_epoch, index):
                raise ZeroDivisionError("by the user")
            loss = (self.layers(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean()
            self.log("loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            error = (self.layers(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean()
            self.log("f1", error * changed.get("times", 1.0))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=lr, momentum=0.9)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)]

    return Network()


def data(seed: int, **options: Any) -> DataLoader[Any]:
    inputs = torch.rand(48, 4, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(inputs), batch_size=8, **options)


def fit(run: Run, *, validation: bool = True, trainer: dict[str, Any] | None = None, **changed: Any) -> Any:
    """As a user writes it."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import EarlyStopping

    from hpo.integrations.lightning import HpoCallback

    hook = HpoCallback(run)
    options: dict[str, Any] = {"max_epochs": run.max_epochs, "accelerator": "cpu", "devices": 1, **(trainer or {})}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    least = changed.get("least", 0.0)
    callbacks = [hook, EarlyStopping("f1", patience=2, min_delta=least)] if validation else [hook]
    loaders = [data(1, shuffle=True), data(2)] if validation else [data(1, shuffle=True)]
    made = Trainer(callbacks=callbacks, **quiet, **options)
    made.fit(network(run.params["lr"] / 10, **changed), *loaders, ckpt_path=hook.ckpt_path)
    return made


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_fit_that_was_paused_goes_on_bit_for_bit(job: Any, stop_after: int) -> None:
    def train(run: Run) -> None:
        fit(run)

    alone = Coordinator()
    finished = alone.train(job(train, RULES, checkpoint=""))
    assert (finished.outcome, finished.reason) == ("complete", "")
    assert [number for number, _ in alone.curve] == [1, 2, 3, 4, 5]
    assert all(row.keys() == {"f1", "loss"} for _, row in alone.curve)
    assert len({row["f1"] for _, row in alone.curve}) == 5
    paused = Coordinator(stop_after)
    assert paused.train(job(train, RULES)).outcome == "stopped"
    resumed = Coordinator()
    again = resumed.train(job(train, RULES))
    assert (again.outcome, again.reason) == ("complete", ""), again.details
    assert resumed.curve == alone.curve
    assert [epoch.replayed for epoch in resumed.epochs] == [number <= stop_after for number in range(1, 6)]
    assert again.metrics == finished.metrics
    assert again.facts["resumed_epoch"] == stop_after
    assert resumed.warnings == []


def test_other_callbacks_go_on_where_they_were(job: Any) -> None:
    """Early stopping has counted the epoch after which the checkpoint was written."""

    def train(run: Run) -> None:
        fit(run, least=100.0)  # nothing is an improvement

    alone = Coordinator()
    alone.train(job(train, RULES, checkpoint=""))
    Coordinator(2).train(job(train, RULES))
    resumed = Coordinator()
    resumed.train(job(train, RULES))
    assert [number for number, _ in alone.curve] == [1, 2, 3]
    assert resumed.curve == alone.curve


def test_a_loader_of_the_run_keeps_its_order_too(job: Any) -> None:
    def train(run: Run) -> None:
        from lightning.pytorch import Trainer

        from hpo.integrations.lightning import HpoCallback

        hook = HpoCallback(run)
        trainer = Trainer(max_epochs=4, callbacks=[hook], logger=False, accelerator="cpu", enable_progress_bar=False)
        loader = run.loader(data(1).dataset, batch_size=8, shuffle=True)
        trainer.fit(network(0.01), loader, data(2), ckpt_path=hook.ckpt_path)

    alone = Coordinator()
    alone.train(job(train, RULES, checkpoint=""))
    Coordinator(2).train(job(train, RULES))
    resumed = Coordinator()
    resumed.train(job(train, RULES))
    assert [number for number, _ in alone.curve] == [1, 2, 3, 4]
    assert resumed.curve == alone.curve


def test_a_pruned_fit_ends_at_its_report(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And writes no checkpoint at its end; on a busy machine one may be due before."""
    monkeypatch.setattr("hpo.training.checkpoint.PATIENCE", math.inf)
    pruned = Coordinator(2, keep=False)
    assert pruned.train(job(lambda run: fit(run) and None, RULES)).outcome == "stopped"
    assert [number for number, _ in pruned.curve] == [1, 2]
    assert not (tmp_path / "study" / "2" / "current").exists()


def test_only_what_hpo_has_a_use_for_is_kept(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checkpoints at most, in the trial's folder, and nothing where the function runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpo.training.checkpoint.PATIENCE", 0.0)
    Coordinator(4).train(job(lambda run: fit(run) and None, RULES))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study"]
    folder = tmp_path / "study" / "2" / "own" / "lightning"
    assert [path.name for path in sorted(folder.iterdir())] == ["last-3.ckpt", "last-4.ckpt"]


def test_a_torn_checkpoint_is_told_and_training_begins_again(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hpo.training.checkpoint.PATIENCE", math.inf
    )  # only the stop writes one, however slow epochs are

    def train(run: Run) -> None:
        fit(run)

    Coordinator(2).train(job(train, RULES))
    [file] = (tmp_path / "study" / "2" / "own" / "lightning").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    other = Coordinator()
    assert other.train(job(train, RULES)).outcome == "complete"
    assert [number for number, _ in other.curve] == [1, 2, 3, 4, 5]
    said = "the checkpoint does not fit (ValueError: last-1.ckpt is torn, or was altered); training begins again"
    assert other.warnings == [said]


def test_what_is_reported_follows_the_validations(job: Any) -> None:
    def curve(**options: Any) -> list[tuple[int, set[str]]]:
        coordinator = Coordinator()
        finished = coordinator.train(job(lambda run: fit(run, **options) and {"f1": 1.0}, RULES, checkpoint=""))
        assert finished.outcome == "complete", finished.reason
        return [(number, set(row)) for number, row in coordinator.curve]

    both = {"f1", "loss"}
    rarely = {"check_val_every_n_epoch": 2, "max_epochs": 4}
    often = {"val_check_interval": 0.5, "max_epochs": 2}
    assert curve(trainer=rarely) == [(2, both), (4, both)]
    assert curve(trainer=often) == [(1, {"f1"}), (2, both), (3, both), (4, both)]
    assert curve(validation=False, trainer={"max_epochs": 2}) == [(1, {"loss"}), (2, {"loss"})]


def test_a_fit_ends_as_its_numbers_and_its_code_have_it(job: Any) -> None:
    diverged = Coordinator().train(job(lambda run: fit(run, times=float("nan")) and None, RULES))
    assert (diverged.outcome, diverged.reason) == ("diverged", "f1 is nan in epoch 1")
    failed = Coordinator().train(job(lambda run: fit(run, fails=(1, 2)) and None, RULES, checkpoint=""))
    assert (failed.outcome, failed.reason) == ("failed", "ZeroDivisionError: by the user")
    line = Path(__file__).read_text().splitlines().index('                raise ZeroDivisionError("by the user")') + 1
    assert failed.where.endswith(f"test_lightning.py:{line}")


def test_a_function_that_would_begin_again_is_refused_at_once(job: Any) -> None:
    def forgets(run: Run) -> None:
        from lightning.pytorch import Trainer

        from hpo.integrations.lightning import HpoCallback

        Trainer(callbacks=[HpoCallback(run)], logger=False, accelerator="cpu", max_epochs=2).fit(network(0.01), data(1))

    finished = Coordinator().train(job(forgets, RULES))
    assert finished.reason == "StudyError: trainer.fit was not told where a paused trial goes on"
    assert any("ckpt_path=hook.ckpt_path" in line for line in finished.details)


def test_sigterm_is_left_to_the_coordinator(job: Any) -> None:
    """Lightning's own handler would end the trial as one that failed."""
    seen: list[Any] = []

    class Terminated(Coordinator):
        def send(self, message: Any) -> None:
            if isinstance(message, Epoch):
                seen.append(signal.getsignal(signal.SIGTERM))
                signal.raise_signal(signal.SIGTERM)
            super().send(message)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert Terminated().train(job(lambda run: fit(run) and None, RULES)).outcome == "complete"
        assert seen == [signal.SIG_IGN] * 5
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_rehearsal_is_three_batches_and_a_report(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As hpo check calls the function."""
    monkeypatch.chdir(tmp_path)
    batches: list[int] = []

    def train(run: Run) -> None:
        fit(run, batches=batches)

    made = job(train, RULES)
    tried = inspect_function(Inspect(made, [{"lr": 0.1}], rehearse=True), torch.device("cpu"))
    assert (tried.problem, len(tried.rehearsals)) == (None, 1)
    assert batches == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


@needs("optuna_integration")[0]
def test_optunas_own_callback_prunes_an_objective(job: Any) -> None:
    """It asks a trial for no more than hpo's has, and raises where the trial is to be pruned."""
    from lightning.pytorch import Trainer
    from optuna import TrialPruned
    from optuna_integration import PyTorchLightningPruningCallback

    said, answers = list[Any](), queue.SimpleQueue[Answer]()

    def send(message: Any) -> None:
        said.append(message)
        if isinstance(message, Question):
            answers.put(Answer(message.trial_id, message.number, len(reported()) == 2))

    def reported() -> list[int]:
        return [message.step for message in said if isinstance(message, Report)]

    trial: Any = RemoteTrial(job(lambda trial: None, RULES), Link(4, send, StopRequest(), answers))
    hook = PyTorchLightningPruningCallback(trial, monitor="f1")
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=4, callbacks=[hook], enable_checkpointing=False, accelerator="cpu", **quiet)
    with pytest.raises(TrialPruned, match="at epoch 1"):
        trainer.fit(network(0.01), data(1), data(2))
    assert reported() == [0, 1]
    hook.check_pruned()  # as its documentation has it after every fit; it does something for several processes alone
