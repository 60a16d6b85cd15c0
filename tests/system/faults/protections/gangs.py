"""What may happen to one of several devices that train a trial together."""

from __future__ import annotations

from protections.protection import GANG, GANG_TRAINER, SHARED_TRIAL, Protection

__all__ = ["GANGS_PROTECTIONS"]

GANGS_PROTECTIONS = (
    # A rank raises, or is out of memory.
    Protection(
        "a rank's error is the trial's",
        "gang_trainer.py",
        "Gang._on_finished",
        "message.outcome not in (*CLEAN, LOST_PEER)",
        "False",
        GANG_TRAINER + "an_error_of_one_rank_is_the_trials_and_fresh_ranks_train_the_next",
        "nothing is said",
    ),
    Protection(
        "fresh ranks after an error",
        "gang_trainer.py",
        "Gang._end",
        "replace_ranks",
        "False",
        GANG_TRAINER + "an_error_of_one_rank_is_the_trials_and_fresh_ranks_train_the_next",
        "Right contains 2 more items",
    ),
    Protection(
        "what the others say of it is no error",
        "training/outcomes.py",
        "failure",
        "is_of_peers(error)",
        "False",
        SHARED_TRIAL + "what_a_rank_says_of_another_is_no_error_of_its_own",
        "'failed' == 'lost_peer'",
    ),
    # A rank is killed, hangs, or its device is gone.
    Protection(
        "a lost rank is a trainer lost",
        "gang_trainer.py",
        "Gang._from_rank",
        "self._lost(number)",
        "None",
        GANG_TRAINER + "a_rank_that_is_lost_ends_the_gang_as_it_ended",
        "5 == -9",
    ),
    Protection(
        "an end to waiting for a rank",
        "gang_trainer.py",
        "Gang.work",
        "self._waited_for and time.monotonic() > self._cause_by",
        "False",
        GANG_TRAINER + "a_rank_that_hangs_is_not_waited_for_longer_than_the_others_do",
        "it goes on",
    ),
    Protection(
        "ranks without each other have no result",
        "gang_trainer.py",
        "Gang._on_finished",
        "LOST_PEER in outcomes",
        "False",
        GANG_TRAINER + "ranks_that_miss_each_other_end_the_gang_and_not_the_trial",
        "it goes on",
    ),
    Protection(
        "no rank left behind",
        "trainer.py",
        "main",
        "end_with_parent()",
        "None",
        GANG + "a_killed_rank_ends_the_gang_and_a_killed_gang_its_ranks",
        "none_left",
    ),
    # What the clock or the socket of one of them says.
    Protection(
        "one decision for all ranks",
        "training/shared_trial.py",
        "SharedTrialRun._ends_before",
        "self._ranks.agree(wish)",
        "wish",
        SHARED_TRIAL + "max_seconds_of_one_ranks_clock_end_all_of_them",
        "a rank was left alone",
    ),
    # An installation in progress.
    Protection(
        "one version in all ranks",
        "gang_trainer.py",
        "Gang._on_ready",
        "ready.versions != first.versions",
        "False",
        GANG_TRAINER + "ranks_on_different_versions_do_not_begin",
        "it goes on",
    ),
)
