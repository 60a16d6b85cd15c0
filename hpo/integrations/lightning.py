"""Lightning's Trainer as the loop of a trial. For `lightning`, and for the older package `pytorch_lightning`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import StudyError
from hpo.integrations.files import FrameworkFiles, check_one_device
from hpo.own_training.run import Run

if TYPE_CHECKING or not ("pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules):
    try:
        from lightning.pytorch.callbacks import Checkpoint
    except ModuleNotFoundError as error:
        if error.name != "lightning":
            raise
        raise ModuleNotFoundError("hpo.integrations.lightning needs Lightning: pip install lightning") from error
else:
    from pytorch_lightning.callbacks import Checkpoint

__all__ = ["HpoCallback"]

REHEARSED_BATCHES = 3
"""Of training, and of each validation, while `hpo check` tries the function."""


class _Files(FrameworkFiles):
    trainer: Any = None

    def write(self) -> None:
        if self.trainer is not None:
            number = int(self.newest.stem.rpartition("-")[2]) + 1 if self.newest else 1
            path = self.folder / f"last-{number}.ckpt"
            self.trainer.save_checkpoint(path)
            self.written(path)


class HpoCallback(Checkpoint):
    """Reports each validation of a fit to hpo, ends a trial that is pruned or paused, and lets it go on later.

        hook = HpoCallback(run)
        trainer = Trainer(max_epochs=run.max_epochs, callbacks=[hook], accelerator="auto", devices=1)
        trainer.fit(model, ckpt_path=hook.ckpt_path)

    What is reported is trainer.callback_metrics, at the end of each epoch that has a validation (of each epoch, if
    there is none), and at each validation within an epoch. It is a checkpoint callback, which Lightning calls last,
    when the other callbacks' states are final, and takes the place of the one that Lightning adds by itself. It calls
    run.resume, so the function must not. For one fit on one device; StudyError otherwise.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        check_one_device(run)
        self._run = run
        folder = run.checkpoint_dir / "lightning"
        folder.mkdir(exist_ok=True)
        self._files = _Files(folder)
        self._asked_for_path = self._validated = False
        self._on_terminate = signal.getsignal(signal.SIGTERM)
        run.resume(lightning=self._files)

    @property
    def ckpt_path(self) -> Path | None:
        """For trainer.fit(ckpt_path=...): the checkpoint that the trial goes on from, None for one that begins."""
        self._asked_for_path = True
        return self._files.newest if self._run.resumed else None

    # Called by Lightning ------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        if trainer.world_size > 1:
            raise StudyError(
                f"the Trainer has {trainer.world_size} devices, and hpo gives a trial one",
                next="Trainer(devices=1, ...)",
            )
        if not self._asked_for_path:
            raise self._not_told()
        if self._run.rehearsal:
            trainer.limit_train_batches = trainer.limit_val_batches = REHEARSED_BATCHES
        self._files.trainer = trainer

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        self._leave_signals()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self._run.resumed and trainer.ckpt_path is None:
            raise self._not_told()
        self._leave_signals()
        self._run.begin_epoch()
        # A fit that goes on has its iterators from before the generators were put back; one that was not interrupted
        # makes them now.
        fetcher = getattr(trainer.fit_loop, "_data_fetcher", None)
        if self._run.resumed and fetcher is not None:
            iter(fetcher)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._run.begin_batch()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._validated = True  # the metrics of the epoch's training are still to come
        else:
            self._end(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self._validated or not sum(trainer.num_val_batches):
            self._end(trainer)
        else:
            self._run.end_epoch()
            self._run.begin_epoch()
        self._validated = False

    def _end(self, trainer: Any) -> None:
        if trainer.callback_metrics:
            self._run.report(**trainer.callback_metrics)
        self._run.end_epoch()
        self._run.begin_epoch()

    def _not_told(self) -> StudyError:
        return StudyError(
            "trainer.fit was not told where a paused trial goes on",
            next="trainer.fit(model, ckpt_path=hook.ckpt_path), with hook = HpoCallback(run)",
        )

    def _leave_signals(self) -> None:
        """To the coordinator, which pauses the trial. At a SIGTERM for all Lightning would end it as failed."""
        if self._on_terminate is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_terminate)
