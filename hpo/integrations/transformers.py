"""Hugging Face's Trainer as the loop of a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo.errors import StudyError
from hpo.integrations.files import FrameworkFiles, check_one_device
from hpo.own_training.run import Run

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as error:
    if error.name != "transformers":
        raise
    raise ModuleNotFoundError(
        "hpo.integrations.transformers needs transformers: pip install 'transformers[torch]'"
    ) from error

__all__ = ["HpoCallback"]

REHEARSED_STEPS = 3
"""Before the first evaluation, while `hpo check` tries the function."""
NOT_REPORTED = ("epoch", "runtime", "per_second", "total_flos")
"""Ends of names of what is logged, but is another each time, or no metric."""


class HpoCallback(TrainerCallback):
    """Reports each evaluation of a training to hpo, ends a trial that is pruned or paused, and lets it go on later.

        hook = HpoCallback(run)
        arguments = TrainingArguments(run.checkpoint_dir, seed=run.seed, num_train_epochs=run.max_epochs,
                                      eval_strategy="epoch", save_strategy="no")
        trainer = Trainer(model, arguments, callbacks=[hook], ...)
        trainer.train(resume_from_checkpoint=hook.resume_from_checkpoint)

    What is reported is what evaluation returns, with the loss and learning rate that were logged since the last one.
    Checkpoints are saved after a step, when one is due or the trial is to pause; only the last two are kept. It calls
    run.resume, so the function must not. StudyError for arguments that leave nothing to go by.
    """

    def __init__(self, run: Run) -> None:
        check_one_device(run)
        self._run = run
        self._files = FrameworkFiles(run.checkpoint_dir)
        self._asked_for_checkpoint = self._training = self._pending = False
        self._logged: dict[str, float] = {}
        run.resume(transformers=self._files)

    @property
    def resume_from_checkpoint(self) -> str | None:
        """For trainer.train(...): the checkpoint that the trial goes on from, None for one that begins."""
        self._asked_for_checkpoint = True
        return str(self._files.newest) if self._run.resumed and self._files.newest else None

    # Called by the Trainer ----------------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._check(args, state)
        self._training = True
        self._run.begin_epoch()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_evaluation()
        self._run.begin_batch()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._run.rehearsal and state.global_step >= REHEARSED_STEPS:
            control.should_log = control.should_evaluate = True
        elif not _ends_epoch(state) and self._run.wants_checkpoint():
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not any(name.startswith(("eval_", "train_")) for name in logs or {}):
            self._logged.update(_metrics(logs or {}))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """Called once for each data set of an evaluation."""
        if not self._training:
            return
        self._run.report(**self._logged, **_metrics(metrics))
        self._logged, self._pending = {}, True
        if self._run.wants_checkpoint():
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if _ends_epoch(state) and not self._pending and args.eval_strategy == "epoch":
            return  # by the user's own strategy: a training that goes on from here would leave out the evaluation
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._files.written(folder, keep_others=args.save_strategy != "no")
        if not self._pending:
            self._run.save_checkpoint()
            return
        self._pending = False
        self._run.end_epoch(checkpoint=True)
        self._run.begin_epoch()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_evaluation()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_evaluation()
        self._training = False

    def _end_evaluation(self) -> None:
        if self._pending:
            self._pending = False
            self._run.end_epoch(checkpoint=False)
            self._run.begin_epoch()

    def _check(self, args: Any, state: Any) -> None:
        if args.eval_strategy == "no":
            raise StudyError(
                'TrainingArguments have eval_strategy="no", so there is nothing to report',
                next='TrainingArguments(eval_strategy="epoch", ...)',
            )
        if Path(args.output_dir).resolve() != self._run.checkpoint_dir.resolve():
            raise StudyError(
                f'checkpoints would go to "{args.output_dir}", where a trial that moves or is paused does not look',
                next="TrainingArguments(output_dir=run.checkpoint_dir, ...)",
            )
        if not self._asked_for_checkpoint or (self._run.resumed and not state.global_step and self._files.newest):
            raise StudyError(
                "trainer.train was not told where a paused trial goes on",
                next="trainer.train(resume_from_checkpoint=hook.resume_from_checkpoint), with hook = HpoCallback(run)",
            )


def _ends_epoch(state: Any) -> bool:
    return bool(abs(state.epoch - round(state.epoch)) < 1e-9)


def _metrics(logs: dict[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in logs.items()
        if isinstance(value, int | float) and not name.endswith(NOT_REPORTED)
    }
