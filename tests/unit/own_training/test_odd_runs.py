"""What a train(run) should not do with its process, its run and its checkpoints: one clear outcome each."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from run_coordinator import Coordinator

from hpo.own_messages import FORKED
from hpo.own_training.run import Run


def place() -> tuple[Any, ...]:
    """What one trial may change for all that come after it in this process."""
    here, moved, terminate = os.getcwd(), os.environ.get("HPO_TEST_MOVED"), signal.getsignal(signal.SIGTERM)
    return here, moved, terminate, torch.get_num_threads(), torch.get_default_dtype()


def test_what_a_function_changes_in_its_process_is_put_back(job: Any) -> None:
    def moves(run: Run) -> float:
        os.chdir("/")
        os.environ["HPO_TEST_MOVED"] = "1"
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        return 0.5

    before = place()
    assert Coordinator().train(job(moves)).metrics == {"f1": 0.5}
    assert place() == before


def test_an_epoch_has_one_report_whatever_order_it_is_told_in(job: Any) -> None:
    """The second replaces the first, one without a report is none, and a step of one's own is a metric like others."""

    def twice(run: Run) -> None:
        for epoch in run.epochs(3):
            if epoch != 1:
                run.report(f1=0.1)
                run.report(f1=epoch / 4, step=9 - epoch)

    coordinator = Coordinator()
    assert coordinator.train(job(twice)).metrics == {"f1": 0.5, "step": 7.0}
    assert [(epoch, own["f1"]) for epoch, own in coordinator.curve] == [(1, 0.0), (3, 0.5)]


def test_another_thread_may_report(job: Any) -> None:
    def reports(run: Run) -> None:
        other = threading.Thread(target=lambda: run.report(f1=0.9))
        other.start()
        other.join()

    assert Coordinator().train(job(reports)).metrics == {"f1": 0.9}


def test_a_run_is_of_no_use_once_its_trial_has_ended(job: Any) -> None:
    """Its report would be an epoch of a trial that others count as finished."""
    kept: list[Run] = []

    def keeps(run: Run) -> float:
        kept.append(run)
        run.resume(done=0)
        return 0.5

    first = Coordinator()
    first.train(job(keeps))
    for use in (lambda: kept[0].report(f1=1.0), kept[0].save_checkpoint, lambda: kept[0].log(a=1)):
        with pytest.raises(RuntimeError, match="this trial has ended"):
            use()
    assert first.said == []


def test_a_fork_of_the_process_says_and_keeps_nothing(
    job: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A child that goes on with its parent's loop would report each epoch a second time, over the same socket."""
    refused: list[str] = []

    def forks(run: Run) -> None:
        run.resume(done=0)
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            for use in (lambda: run.report(f1=1.0), run.save_checkpoint, lambda: run.log(child=True)):
                try:
                    use()
                except RuntimeError as error:
                    refused.append(str(error))

    coordinator = Coordinator()
    coordinator.train(job(forks))
    assert refused == [FORKED] * 3
    assert coordinator.said == []
    assert not list(tmp_path.glob("study/2/current")), "no checkpoint of the child"


def test_an_exception_that_is_swallowed_is_nothing(job: Any) -> None:
    def swallows(run: Run) -> float:
        with suppress(BaseException):
            raise KeyboardInterrupt
        return 0.5

    assert Coordinator().train(job(swallows)).outcome == "complete"


def keeps_files(run: Run) -> float:
    run.resume(done=0)
    (run.checkpoint_dir / "note").write_text("kept")
    run.save_checkpoint()
    run.save_checkpoint()
    return float((run.checkpoint_dir / "note").read_text() == "kept")


def test_where_nothing_can_be_kept_a_run_goes_on_and_says_so(job: Any, tmp_path: Path) -> None:
    """A file stands where the checkpoints should; the function's own folder is one that passes, as an objective's."""
    (tmp_path / "in_the_way").write_text("")
    coordinator = Coordinator()
    ended = coordinator.train(job(keeps_files, checkpoint=str(tmp_path / "in_the_way" / "study" / "2")))
    assert (ended.outcome, ended.metrics) == ("complete", {"f1": 1.0})
    assert len(coordinator.warnings) == 2
    assert "no files of your own are kept in" in coordinator.warnings[0]
    assert "no checkpoints from now on" in coordinator.warnings[1]


def test_a_checkpoint_that_cannot_be_read_is_the_one_before_else_none(job: Any, tmp_path: Path) -> None:
    """As by a power failure; and where neither can be read the trial begins again."""
    begun: list[int] = []

    def goes_on(run: Run) -> None:
        state = run.resume(done=0)
        begun.append(state.done)
        while state.done < 4:
            run.begin_epoch()
            state.done += 1
            run.report(f1=state.done)
            run.end_epoch(checkpoint=True)

    for names in (("current",), ("current", "previous")):
        assert Coordinator(3).train(job(goes_on)).outcome == "stopped"
        for path in (tmp_path / "study" / "2" / name for name in names):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert Coordinator().train(job(goes_on)).metrics == {"f1": 4.0}
    assert begun == [0, 2, 0]
