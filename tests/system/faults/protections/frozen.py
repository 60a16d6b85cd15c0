"""What may happen to trials that wait in turn (FreezeThaw)."""

from __future__ import annotations

from protections.protection import Protection

__all__ = ["FROZEN_PROTECTIONS"]

FROZEN = "system/faults/test_frozen.py::test_"
PLANNING = "unit/search/test_planning.py::test_"

FROZEN_PROTECTIONS = (
    Protection(
        "no paused trial left at the end",
        "search/storage_thread.py",
        "StorageThread._sign_off",
        "self._say(self._ask_tell.end_waiting(self._engine, self._worker_id, closing=True))",
        "None",
        FROZEN + "at_the_deadline_no_trial_is_left_waiting",
        "assert",
    ),
    Protection(
        "a paused trial stays with its checkpoint",
        "search/planning.py",
        "Planner._here",
        "replace(trial, held=elsewhere, lost=not elsewhere)",
        "replace(trial, lost=True)",
        PLANNING + "a_trial_stays_with_the_host_that_has_its_checkpoint_until_that_has_left",
        "there",
    ),
    Protection(
        "the worst checkpoints going first",
        "search/planning.py",
        "Planner._trials",
        "self._kept.keep_within_bound([trial.number for trial in best_first])",
        "None",
        PLANNING + "the_worst_lose_their_checkpoints_first",
        "[4, 5]",
    ),
    Protection(
        "giving up what cannot wait",
        "search/planning.py",
        "Planner.trained",
        "self._give_up(trial.number, trial.until)",
        "None",
        PLANNING + "a_trial_that_goes_on_where_it_was_to_wait_ends_the_planning_and_says_why",
        "gave_up",
    ),
    Protection(
        "nothing begun that could not end",
        "freeze_thaw/scheduler.py",
        "Scheduler._choose",
        "left * seconds > seconds_left",
        "np.zeros(len(points), dtype=bool)",
        PLANNING + "near_the_deadline_only_what_can_end_goes_on",
        "assert",
    ),
    Protection(
        "waiting only with a checkpoint",
        "training/fit.py",
        "train",
        "trial.pause_is_due and trial.save()",
        "trial.pause_is_due and (trial.save() or True)",
        "unit/training/test_training_resume.py::test_a_trial_whose_checkpoint_cannot_be_written_does_not_wait",
        "'stopped' == 'complete'",
    ),
)
