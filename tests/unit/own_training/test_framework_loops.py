"""A loop that is a framework's, and files that it writes itself: the same promises as in a loop of one's own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from run_coordinator import Coordinator

from hpo.own_training.run import Run


def test_a_loop_of_a_framework_goes_on_bit_for_bit(job: Any) -> None:
    """begin_epoch and end_epoch in place of run.epochs: the same curve, whatever drew numbers in between."""

    def framework(run: Run) -> None:
        state = run.resume(epoch=0)
        loader = run.loader(list(range(64)), batch_size=8, shuffle=True)
        random.random()  # as building a network does
        while state.epoch < run.max_epochs:
            run.begin_epoch()
            run.begin_batch()
            state.epoch += 1
            if state.epoch != 2:  # an epoch without a validation
                run.report(f1=random.random(), first=next(iter(loader))[0])
            run.end_epoch()

    alone = Coordinator()
    finished = alone.train(job(framework, checkpoint=""))
    assert [number for number, _ in alone.curve] == [1, 3, 4, 5, 6]
    Coordinator(3).train(job(framework))
    resumed = Coordinator()
    assert resumed.train(job(framework)).metrics == finished.metrics
    assert resumed.curve == alone.curve
    assert [epoch.replayed for epoch in resumed.epochs] == [True, True, False, False, False]


def test_a_checkpoint_that_something_else_writes_is_recorded_at_the_end_of_the_epoch(job: Any) -> None:
    written: list[int] = []

    def framework(run: Run) -> None:
        state = run.resume(epoch=0)
        while state.epoch < 4:
            run.begin_epoch()
            state.epoch += 1
            run.report(f1=state.epoch)
            written.append(state.epoch)
            run.end_epoch(checkpoint=state.epoch == 2)

    paused = Coordinator(3)
    paused.train(job(framework))
    Coordinator().train(job(framework))
    assert written == [1, 2, 3, 3, 4], "it went on from the second epoch, which was recorded"


def test_a_folder_is_there_where_nothing_is_kept_and_is_gone_afterwards(job: Any) -> None:
    """As while hpo check and hpo reproduce train."""
    folders: list[Path] = []

    def keeps(run: Run) -> float:
        (run.checkpoint_dir / "file").write_text("")
        folders.append(run.checkpoint_dir)
        return 0.5

    assert Coordinator().train(job(keeps, checkpoint="")).outcome == "complete"
    assert folders[0].is_absolute()
    assert not folders[0].exists()


def test_an_object_that_cannot_write_its_file_costs_no_result(job: Any) -> None:
    class File:
        def state_dict(self) -> None:
            if full:
                raise OSError(28, "No space left on device")

        def load_state_dict(self, state: None) -> None: ...

    full: list[int] = []

    def writes(run: Run) -> None:
        run.resume(file=File())
        for epoch in run.epochs():
            full.append(epoch)
            run.report(f1=epoch)
            run._save()

    coordinator = Coordinator()
    assert coordinator.train(job(writes)).outcome == "complete"
    assert len(coordinator.warnings) == 1
    assert "No space left on device" in coordinator.warnings[0]
