"""Hugging Face's Trainer itself, with a tiny model on the CPU: what hpo hears, and that it goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from frameworks import needs
from run_coordinator import Coordinator

from hpo.messages import Inspect, Protocol
from hpo.own_messages import Question
from hpo.own_training.inspection import inspect_function
from hpo.own_training.run import Run

pytestmark = needs("transformers")
RULES = Protocol(epochs=4, objectives=("eval_loss",))
NAMES = {"loss", "grad_norm", "learning_rate", "eval_loss"}


class Tokens(torch.utils.data.Dataset[Any]):
    """Sequences to be told apart by their first token."""

    def __init__(self, seed: int, fails_at: int | None = None) -> None:
        self.tokens = torch.randint(3, 20, (32, 6), generator=torch.Generator().manual_seed(seed))
        self.fails_at, self.given = fails_at, 0

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.given += 1
        if self.given == self.fails_at:
            raise ZeroDivisionError("by the user")
        return {"input_ids": self.tokens[index], "labels": int(self.tokens[index][0] > 10)}


def fit(
    run: Run, *, fails_at: int | None = None, tests: Any = None, ask: bool = True, others: Any = (), **changed: Any
) -> None:
    """As a user writes it."""
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    from hpo.integrations.transformers import HpoCallback

    hook = HpoCallback(run)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    model = BertForSequenceClassification(BertConfig(vocab_size=20, max_position_embeddings=8, **sizes))
    options: dict[str, Any] = {
        "output_dir": run.checkpoint_dir, "seed": run.seed, "num_train_epochs": run.max_epochs, "use_cpu": True,
        "eval_strategy": "epoch", "save_strategy": "no", "logging_strategy": "epoch", "report_to": "none",
        "learning_rate": run.params["lr"] / 10, "disable_tqdm": True, **changed,
    }  # fmt: skip
    arguments = TrainingArguments(per_device_train_batch_size=8, **options)
    trainer = Trainer(
        model, arguments, train_dataset=Tokens(1, fails_at), eval_dataset=tests or Tokens(2), callbacks=[*others, hook]
    )
    trainer.train(resume_from_checkpoint=hook.resume_from_checkpoint if ask else None)
    trainer.evaluate()  # after the training: no epoch of it


class Later(Coordinator):
    """Asks the run to stop once it has heard that it may go on after `stop_after` evaluations, in an epoch's midst."""

    heard = 0

    def send(self, message: Any) -> None:
        stop_after, self.stop_after = self.stop_after, None
        super().send(message)
        self.stop_after = stop_after
        self.heard += isinstance(message, Question)
        self.stop.asked = self.heard == stop_after


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_training_that_was_paused_goes_on_bit_for_bit(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """It is paused at a step, and its weights are those of a training left alone. The loss that the Trainer logs of the
    epoch that was interrupted is the mean of what was left of it."""
    monkeypatch.setattr("hpo.training.checkpoint.PATIENCE", 1e9)  # none is due
    alone = Coordinator()
    finished = alone.train(job(fit, RULES, checkpoint=""))
    assert (finished.outcome, finished.reason) == ("complete", ""), finished.details
    assert [number for number, _ in alone.curve] == [1, 2, 3, 4]
    assert all(row.keys() == NAMES for _, row in alone.curve)
    assert len({row["eval_loss"] for _, row in alone.curve}) == 4
    paused = Later(stop_after)
    assert paused.train(job(fit, RULES)).outcome == "stopped"
    assert [number for number, _ in paused.curve] == list(range(1, stop_after + 1))
    [folder] = (tmp_path / "study" / "2" / "own").iterdir()
    assert folder.name == f"checkpoint-{4 * stop_after + 1}"
    resumed = Coordinator()
    again = resumed.train(job(fit, RULES))
    assert (again.outcome, again.reason) == ("complete", ""), again.details
    assert [epoch.replayed for epoch in resumed.epochs] == [number <= stop_after for number in range(1, 5)]
    for (number, row), (_, expected) in zip(resumed.curve, alone.curve, strict=True):
        interrupted = {"loss"} if number == stop_after + 1 else set()
        assert {name: row[name] for name in NAMES - interrupted} == {
            name: expected[name] for name in NAMES - interrupted
        }
    assert again.facts["resumed_epoch"] == stop_after
    assert resumed.warnings == []


def test_a_pause_at_the_last_step_of_an_epoch_comes_after_its_evaluation(job: Any) -> None:
    """The Trainer would leave out the evaluation where it goes on from that step."""
    from transformers import TrainerCallback

    paused = Coordinator()

    class Stops(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            paused.stop.asked = paused.stop.asked or state.global_step == 8

    assert paused.train(job(lambda run: fit(run, others=[Stops()]), RULES)).outcome == "stopped"
    assert [number for number, _ in paused.curve] == [1, 2]
    alone, resumed = Coordinator(), Coordinator()
    resumed.train(job(fit, RULES))
    alone.train(job(fit, RULES, checkpoint=""))
    assert resumed.curve == alone.curve


def test_checkpoints_that_are_due_are_of_steps_and_two_are_kept(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.training.checkpoint.PATIENCE", 0.0)
    monkeypatch.chdir(tmp_path)
    died = Coordinator()
    assert died.train(job(lambda run: fit(run, fails_at=8 * 10 + 1), RULES)).reason == "ZeroDivisionError: by the user"
    own = tmp_path / "study" / "2" / "own"
    assert len(list(own.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_a_pruned_training_ends_after_its_evaluation(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo.training.checkpoint.PATIENCE", 1e9)
    pruned = Coordinator(2, keep=False)
    assert pruned.train(job(fit, RULES)).outcome == "stopped"
    assert [number for number, _ in pruned.curve] == [1, 2]
    assert not (tmp_path / "study" / "2" / "current").exists()


def test_several_data_sets_of_an_evaluation_are_one_report(job: Any) -> None:
    rules = Protocol(epochs=2, objectives=("eval_a_loss",))
    coordinator = Coordinator()
    finished = coordinator.train(job(lambda run: fit(run, tests={"a": Tokens(2), "b": Tokens(3)}), rules))
    assert finished.outcome == "complete", finished.reason
    assert [set(row) for _, row in coordinator.curve] == [{*NAMES, "eval_a_loss", "eval_b_loss"} - {"eval_loss"}] * 2


def test_an_error_of_the_users_is_told_with_its_line(job: Any) -> None:
    failed = Coordinator().train(job(lambda run: fit(run, fails_at=3), RULES))
    assert (failed.outcome, failed.reason) == ("failed", "ZeroDivisionError: by the user")
    line = Path(__file__).read_text().splitlines().index('            raise ZeroDivisionError("by the user")') + 1
    assert failed.where.endswith(f"test_transformers.py:{line}")


@pytest.mark.parametrize(
    ("changed", "fact", "then"),
    [
        ({"ask": False}, "trainer.train was not told where a paused trial goes on", "hook.resume_from_checkpoint"),
        ({"eval_strategy": "no"}, 'have eval_strategy="no", so there is nothing to report', 'eval_strategy="epoch"'),
        ({"output_dir": "elsewhere"}, 'would go to "elsewhere", where a trial that', "output_dir=run.checkpoint_dir"),
    ],
)
def test_arguments_that_leave_nothing_to_go_by_are_refused(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], fact: str, then: str
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = Coordinator().train(job(lambda run: fit(run, **changed), RULES))
    assert finished.outcome == "failed"
    assert fact in finished.reason
    assert any(then in line for line in finished.details)


def test_a_rehearsal_is_three_steps_and_an_evaluation(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As hpo check calls the function."""
    monkeypatch.chdir(tmp_path)

    def train(run: Run) -> None:
        fit(run, fails_at=3 * 8 + 9)  # more than one batch ahead would be read by nobody

    tried = inspect_function(Inspect(job(train, RULES), [{"lr": 0.1}], rehearse=True), torch.device("cpu"))
    assert (tried.problem, len(tried.rehearsals)) == (None, 1)
    assert list(tmp_path.iterdir()) == []
