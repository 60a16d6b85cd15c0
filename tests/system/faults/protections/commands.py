"""Protections of trials that a program of the user's own trains: nothing of it is left, nothing that it said lost."""

from __future__ import annotations

from protections.protection import COMMANDS, OBJECTIVE, Protection

__all__ = ["COMMANDS_PROTECTIONS"]

COMMANDS_PROTECTIONS = (
    Protection(
        "the end of all that a program started",
        "commands/program.py",
        "Program.finish",
        "end_descendants()",
        "None",
        COMMANDS + "a_pruned_program_ends_with_all_that_it_started[deaf]",
        "children of others",
    ),
    Protection(
        "orphans stay in the family",
        "commands/descendants.py",
        "adopt_orphans",
        "ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)",
        "None",
        COMMANDS + "whatever_a_program_does_ends_its_trial_alone",
        "assert not [psutil.Process(",
    ),
    Protection(
        "a program goes with its trainer's first process",
        "command_trainer.py",
        "_leave_with",
        "channel.leave()",
        "None",
        COMMANDS + "no_program_outlives_its_trainer[first]",
        "the end of the old ones",
    ),
    Protection(
        "a program goes with its trainer's second process",
        "command_trainer.py",
        "_wait",
        "end_descendants()",
        "None",
        COMMANDS + "no_program_outlives_its_trainer[second]",
        "the end of the old ones",
    ),
    Protection(
        "a program goes with its coordinator",
        "channel.py",
        "Channel.leave",
        "self._before_leaving()",
        "time.sleep(60)",
        COMMANDS + "no_program_outlives_its_trainer[coordinator]",
        "the end of the old ones",
    ),
    Protection(
        "SIGTERM before SIGKILL",
        "commands/program.py",
        "Program.ask_to_end",
        "os.killpg(self.pid, signal.SIGTERM)",
        "None",
        COMMANDS + "a_pruned_program_ends_with_all_that_it_started[polite]",
        "told to stop",
    ),
    Protection(
        "SIGKILL after the grace",
        "commands/program.py",
        "Program.ended",
        "time.monotonic() - self._asked_at > GRACE_SECONDS",
        "False",
        COMMANDS + "a_pruned_program_ends_with_all_that_it_started[deaf]",
        "still there after",
    ),
    Protection(
        "told again to the attempt that goes on",
        "commands/run.py",
        "CommandRun.run",
        "self._report(self._taken(self._history.earlier))",
        "None",
        COMMANDS + "a_paused_program_goes_on_from_what_it_kept[polite]",
        "== (1.0 + 1)",
    ),
    Protection(
        "NaN is no value",
        "search/outcomes.py",
        "_last",
        "math.isnan(trial.score)",
        "False",
        OBJECTIVE + "whatever_an_objective_does_ends_its_trial_alone",
        "refused a statement",
    ),
)
