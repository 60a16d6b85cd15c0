"""A user's own train(run): its epochs, what it reports, and that a resumed one is bit for bit the one left alone."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_coordinator import Coordinator
from torch import nn
from torch.utils.data import TensorDataset

from hpo.messages import Message, Protocol
from hpo.own_messages import NO_QUESTION, Answer, Attribute, Question
from hpo.own_training.run import Run


def digits(run: Run) -> None:
    """Everything that draws numbers: the order, dropout, noise of NumPy and of Python, a generator of its own."""
    inputs = torch.linspace(0, 1, 64).reshape(16, 4)
    network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=run.params["lr"])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    own = np.random.default_rng(run.seed)
    state = run.resume(model=network, optimizer=optimizer, schedule=schedule, own=own, seen=[], best=0.0)
    loader = run.loader(TensorDataset(inputs), batch_size=4, shuffle=True)
    for epoch in run.epochs():
        total = 0.0
        for (batch,) in loader:
            optimizer.zero_grad()
            loss = (network(batch) + random.random() + np.random.random() + own.random()).square().mean()
            loss.backward()
            optimizer.step()
            total += loss.item()
        state.best = max(state.best, total)
        state.seen.append(epoch)
        run.report(f1=total, best=state.best, seen=len(state.seen))
        schedule.step()
    run.log(weights=sum(one.numel() for one in network.parameters()))


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_run_that_was_paused_goes_on_bit_for_bit(job: Any, tmp_path: Path, stop_after: int) -> None:
    alone = Coordinator()
    finished = alone.train(job(digits, checkpoint=""))
    assert [number for number, _ in alone.curve] == [1, 2, 3, 4, 5, 6]
    assert finished.outcome == "complete"
    assert finished.metrics == alone.curve[-1][1]
    paused = Coordinator(stop_after)
    assert paused.train(job(digits)).outcome == "stopped"
    assert [number for number, _ in paused.curve] == list(range(1, stop_after + 1))
    resumed = Coordinator()
    again = resumed.train(job(digits))
    assert resumed.curve == alone.curve
    assert [epoch.replayed for epoch in resumed.epochs] == [number <= stop_after for number in range(1, 7)]
    assert again.metrics == finished.metrics
    assert again.facts["resumed_epoch"] == stop_after
    assert logged(resumed) == {"weights": 4 * 8 + 8 + 8 + 1}


def test_a_run_that_waits_after_its_epochs_goes_on_bit_for_bit(job: Any) -> None:
    alone = Coordinator()
    finished = alone.train(job(digits, checkpoint=""))
    for until in (1, 3, 5):
        waits = Coordinator()
        assert waits.train(job(digits, pause_after=until)).outcome == "stopped"
        assert waits.curve == alone.curve[:until]
    last = Coordinator()
    assert last.train(job(digits, pause_after=6)).metrics == finished.metrics
    assert last.curve == alone.curve


def test_a_run_that_keeps_or_tells_nothing_does_not_wait(job: Any) -> None:
    """Where it could not go on, or nobody would know how good it is, it trains to its end."""

    def keeps_nothing(run: Run) -> None:
        for epoch in run.epochs():
            run.report(f1=epoch)

    def tells_nothing(run: Run) -> float:
        run.resume(seen=[])
        return float(sum(run.epochs()))

    for function in (keeps_nothing, tells_nothing):
        assert Coordinator().train(job(function, pause_after=1)).outcome == "complete"


def test_a_loop_that_writes_its_own_checkpoints_is_asked_for_one_where_it_is_to_wait(job: Any) -> None:
    wanted = []

    def framework(run: Run) -> None:
        run.resume(model=nn.Linear(1, 1))
        for epoch in range(6):
            run.begin_epoch()
            within = run.wants_checkpoint()
            run.report(f1=epoch)
            wanted.append((within, run.wants_checkpoint()))
            run.end_epoch(checkpoint=wanted[-1][1])

    assert Coordinator().train(job(framework, pause_after=3)).outcome == "stopped"
    assert wanted == [(False, False), (False, False), (False, True)]


def test_a_trial_that_had_ended_is_told_again_and_not_trained(job: Any) -> None:
    first = Coordinator()
    finished = first.train(job(digits))
    second = Coordinator()
    again = second.train(job(lambda run: pytest.fail("called")))
    assert again.metrics == finished.metrics
    assert second.curve == first.curve
    assert all(epoch.replayed for epoch in second.epochs)
    assert logged(second) == logged(first) == {"weights": 49}


def test_what_an_earlier_attempt_logged_is_told_again_for_whoever_had_not_written_it(job: Any) -> None:
    def logs_once(run: Run) -> None:
        run.resume()
        for epoch in run.epochs():
            if epoch == 0:
                run.log(classes=["a", "b"], first=True)
            if epoch == 2:
                run.log(first=False)
            run.report(f1=epoch)

    assert Coordinator(2).train(job(logs_once)).outcome == "stopped"
    second = Coordinator(4)
    assert second.train(job(logs_once)).outcome == "stopped"
    assert [message.value for message in second.said if isinstance(message, Attribute)] == [["a", "b"], True, False]
    third = Coordinator()
    third.train(job(logs_once))
    assert logged(third) == {"classes": ["a", "b"], "first": False}


def test_what_was_logged_before_resume_is_kept_too(job: Any) -> None:
    """It was in no end that a resumed attempt left; what an epoch logged later under the same name stays."""

    def logs_first(run: Run) -> None:
        run.log(weights=49, phase="begun")
        run.resume()
        for epoch in run.epochs():
            run.log(phase="under way")
            run.report(f1=epoch)

    assert Coordinator(2).train(job(logs_first)).outcome == "stopped"
    second = Coordinator()
    assert second.train(job(logs_first)).outcome == "complete"
    told_again = Coordinator()
    told_again.train(job(lambda run: pytest.fail("called")))
    assert logged(second) == logged(told_again) == {"weights": 49, "phase": "under way"}


def logged(coordinator: Coordinator) -> dict[str, Any]:
    return {one.name: one.value for one in coordinator.said if isinstance(one, Attribute)}


def test_a_pruned_run_ends_at_its_report_and_keeps_nothing(job: Any, tmp_path: Path) -> None:
    pruned = Coordinator(2, keep=False)
    assert pruned.train(job(digits)).outcome == "stopped"
    assert len(pruned.epochs) == 2
    assert not (tmp_path / "study" / "2" / "current").exists()


def test_a_checkpoint_that_does_not_fit_is_told_and_training_begins_again(job: Any) -> None:
    Coordinator(3).train(job(digits))

    def changed(run: Run) -> None:
        network = nn.Linear(2, 2)
        run.resume(model=network, extra=1)
        for epoch in run.epochs(2):
            run.report(f1=epoch)

    other = Coordinator()
    finished = other.train(job(changed))
    assert finished.outcome == "complete"
    assert [number for number, _ in other.curve] == [1, 2]
    assert other.warnings == [
        "the checkpoint does not fit (ValueError: it holds model, optimizer, schedule, own, seen, best, and resume() "
        "was given model, extra); training begins again"
    ]

    def wider(run: Run) -> None:
        optimizer = torch.optim.Adam(nn.Linear(9, 9).parameters())
        network = nn.Linear(9, 9)
        run.resume(model=network, optimizer=optimizer, schedule=1, own=2, seen=3, best=4)
        for epoch in run.epochs(2):
            run.report(f1=epoch)


def test_each_report_is_an_epoch_where_there_is_no_loop_over_epochs(job: Any) -> None:
    def steps(run: Run) -> None:
        state = run.resume(done=0)
        loader = run.loader(list(range(64)), batch_size=8, shuffle=True)
        while state.done < 4:
            state.done += 1
            run.report(f1=state.done, noise=random.random(), first=next(iter(loader))[0])

    alone = Coordinator()
    alone.train(job(steps, checkpoint=""))
    Coordinator(2).train(job(steps))
    resumed = Coordinator()
    resumed.train(job(steps))
    assert resumed.curve == alone.curve
    assert [row["f1"] for _, row in alone.curve] == [1, 2, 3, 4]


def test_a_loop_that_is_left_early_has_reported_its_last_epoch(job: Any) -> None:
    def early(run: Run) -> dict[str, float]:
        for epoch in run.epochs():
            run.report(f1=epoch, loss=1)
            run.report(loss=torch.tensor([2.5]))
            if epoch == 2:
                break
        return {"f1": 0.75}

    coordinator = Coordinator()
    finished = coordinator.train(job(early))
    assert coordinator.curve == [(number, {"f1": number - 1, "loss": 2.5}) for number in (1, 2, 3)]
    assert finished.metrics == {"f1": 0.75, "loss": 2.5}
    assert finished.epoch == finished.best_epoch == 3


def test_max_seconds_ends_a_run_with_what_it_has(job: Any) -> None:
    rules = Protocol(epochs=6, objectives=("f1",), max_seconds=1e-9)
    finished = Coordinator().train(job(digits, rules))
    assert (finished.outcome, finished.epoch, finished.facts["out_of_time"]) == ("complete", 1, True)


def test_the_final_phase_calls_final_for_as_many_epochs_as_the_trial_had(job: Any) -> None:
    rules = Protocol(epochs=6, objectives=("f1",), stop_after=3)
    phases: list[Any] = []

    def final(run: Run) -> dict[str, float]:
        phases.extend((run.phase, *run.epochs(5)))
        return {"test_f1": 0.5}

    finished = Coordinator().train(job(final, rules, phase="final"))
    assert finished.metrics == {"test_f1": 0.5}
    assert phases == ["final", 0, 1, 2]


def odd(body: str) -> Any:
    scope: dict[str, Any] = {"torch": torch, "nn": nn, "random": random, "nan": float("nan")}
    exec(f"def train(run):\n    {body}", scope)
    return scope["train"]


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        ("pass", "failed", "train: it never reported f1, nor anything else"),
        ("run.report(f2=1.0)", "failed", "train: it never reported f1, only f2"),
        ("run.report()", "failed", "TypeError: run.report() needs at least one metric, as in run.report(val_loss=0.3)"),
        ("run.report(f1='high')", "failed", "TypeError: the metric 'f1' is of type str, and should be one number"),
        ("run.report(f1=torch.zeros(3))", "failed", "TypeError: the metric 'f1' is of type Tensor, and should be one "
         "number"),
        ("run.report(f1=nan)", "diverged", "f1 is nan in report 1"),
        ("run.report(f1=1); return {'f1': nan}", "diverged", "it returned f1 = nan"),
        ("return float('inf')", "diverged", "it returned f1 = inf"),
        ("return 'good'", "failed", "train: it returned something that is not a metric: the metric 'f1' is of "
         "type str, and should be one number"),
        ("return 0.5", "complete", ""),
        ("[run.epochs(2) for _ in run.epochs(2)]", "failed", "RuntimeError: run.epochs(...) is being iterated already; "
         "one loop goes over the epochs"),
        ("list(run.epochs(True))", "failed", "ValueError: run.epochs(True) must be a whole number of at least 1"),
        ("run.resume(a=1); run.resume(b=1)", "failed", "RuntimeError: run.resume(...) was called already; give it "
         "everything at once"),
        ("run.report(f1=1); run.resume(a=1)", "failed", "RuntimeError: call run.resume(...) before the first epoch"),
        ("run.resume(a={'b': [nn.Linear]})", "failed", "TypeError: state.a.b.0 is a type, which no checkpoint can "
         "hold: give resume() objects that have state_dict and load_state_dict, or numbers, text, tensors and arrays, "
         "and lists and dicts of them"),
        ("run.log(net=nn.Linear(1, 1))", "failed", "TypeError: run.log(net=...): Object of type Linear is not JSON "
         "serializable"),
        ("run.loader([1, 2], generator=torch.Generator())", "failed", "TypeError: run.loader seeds its generator "
         "itself, for each epoch; leave generator out"),
        ("raise SystemExit(0)", "failed", "SystemExit: 0"),
        ("raise MemoryError", "out_of_memory", "train(lr=0.1); out of memory"),
    ],
)  # fmt: skip
def test_what_a_function_does_wrong_has_one_clear_outcome(job: Any, body: str, outcome: str, reason: str) -> None:
    finished = Coordinator().train(job(odd(body)))
    assert (finished.outcome, finished.reason) == (outcome, reason)


def test_a_function_that_swallows_its_pause_has_no_result(job: Any) -> None:
    def swallows(run: Run) -> float:
        try:
            for _ in run.epochs():
                run.report(f1=1)
        except BaseException:  # noqa: BLE001 - which is what it must not do
            pass
        return 1.0

    assert Coordinator(2).train(job(swallows)).outcome == "stopped"


def test_a_function_that_swallows_its_end_has_ended_all_the_same(job: Any, tmp_path: Path) -> None:
    """And one that swallows a checkpoint that does not fit is called again, without it."""

    def swallows(run: Run) -> float:
        with suppress(BaseException):  # which is what it must not do
            run.report(f1=float("nan"))
        return 1.0

    ended = Coordinator().train(job(swallows, checkpoint=""))
    assert (ended.outcome, ended.reason) == ("diverged", "f1 is nan in report 1")
    Coordinator(3).train(job(digits))
    resumed: list[bool] = []

    def unfit(run: Run) -> float:
        try:
            run.resume(other=1)
        except BaseException:  # noqa: BLE001
            return 0.0
        resumed.append(run.resumed)
        return 2.0

    assert Coordinator().train(job(unfit)).metrics == {"f1": 2.0}
    assert resumed == [False]


def test_a_failure_is_not_kept_for_the_same_job_once_the_code_is_mended(job: Any) -> None:
    """`hpo evaluate` runs it again in the same folder."""
    assert Coordinator().train(job(odd("raise ValueError('bug')"))).outcome == "failed"
    assert Coordinator().train(job(odd("return 0.5"))).metrics == {"f1": 0.5}


def test_another_function_is_another_job(job: Any) -> None:
    """Its checkpoints and evaluation runs are others; the folder that its file stands in does not count."""
    one = job(digits)
    assert one.own is not None
    names = ("/a/x.py:train", "/b/x.py:train", "/a/x.py:fit")
    here, there, other = (replace(one, own=replace(one.own, function=name)).key for name in names)
    assert here == there != other
    assert here != replace(one, own=replace(one.own, function="/a/x.py:train", final="/a/x.py:other")).key


class Late(Coordinator):
    """Decides to end the trial only when it is asked whether to go on, as one in another process does."""

    def send(self, message: Message) -> None:
        if isinstance(message, Question) and len(self.epochs) == 2:
            self.stop.asked = True
            self.answers.put(Answer(message.trial_id, NO_QUESTION))
        super().send(message)


def test_no_epoch_begins_before_the_coordinator_has_decided(job: Any) -> None:
    """Without a loader nothing would end it until its next report."""
    begun: list[int] = []

    def function(run: Run) -> None:
        for epoch in run.epochs():
            begun.append(epoch)
            run.report(f1=epoch)

    assert Late(keep=False).train(job(function)).outcome == "stopped"
    assert begun == [0, 1]


def test_each_pass_of_a_loader_has_an_order_of_its_own_that_follows_from_the_seed(job: Any) -> None:
    orders: list[list[int]] = []

    def function(run: Run) -> None:
        loader = run.loader(range(16), batch_size=16, shuffle=True)
        other = run.loader(range(16), batch_size=16, shuffle=True)
        for epoch in run.epochs(2):
            for source in (loader, loader, other):
                orders.extend(batch.tolist() for batch in source)
            run.report(f1=epoch)

    Coordinator().train(job(function, checkpoint=""))
    assert len({tuple(order) for order in orders}) == 6
    first, orders[:] = list(orders), []
    Coordinator().train(job(function, checkpoint=""))
    assert orders == first
    orders.clear()
    Coordinator().train(job(function, checkpoint="", seed=8))
    assert orders != first


def test_a_loop_that_is_left_has_ended_its_epoch(job: Any) -> None:
    def function(run: Run) -> None:
        for epoch in run.epochs():
            run.report(f1=epoch)
            if epoch == 1:
                break
        run.report(f1=7)
        for epoch in run.epochs(5):
            run.report(f1=epoch)

    coordinator = Coordinator()
    coordinator.train(job(function))
    assert [(number, own["f1"]) for number, own in coordinator.curve] == [(1, 0), (2, 1), (3, 7), (4, 3), (5, 4)]


def batches_until_stopped(job: Any, *, keep: bool) -> int:
    """Of two epochs of sixteen, where the request comes in the third batch."""
    coordinator, batches = Coordinator(keep=keep), list[int]()

    def function(run: Run) -> None:
        run.resume(done=0)
        for epoch in run.epochs(2):
            for batch in run.loader(range(16)):
                batches.append(int(batch))
                coordinator.stop.asked = len(batches) == 3 or coordinator.stop.asked
            run.report(f1=epoch)

    assert coordinator.train(job(function)).outcome == "stopped"
    return len(batches)


def test_a_pruned_trial_ends_at_its_next_batch_and_a_paused_one_may_reach_the_end_of_its_epoch(job: Any) -> None:
    assert batches_until_stopped(job, keep=False) == 3
    assert batches_until_stopped(job, keep=True) == 16


def test_a_pause_does_not_wait_for_the_end_of_a_long_epoch(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo.own_training.run.LONGEST_PAUSE", 0.0)
    assert batches_until_stopped(job, keep=True) == 4
