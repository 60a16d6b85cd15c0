"""Hosts that are lost, interrupted or slow, and clocks that are wrong: no trial is lost, and none is trained twice."""

from __future__ import annotations

from protections.protection import HOSTS, TRAINER, Protection

__all__ = ["HOSTS_PROTECTIONS"]

HOSTS_PROTECTIONS = (
    # A coordinator is killed, a host is lost.
    Protection(
        "own trials at once",
        "search/open_study.py",
        "_others",
        "Reaper(study_id, identity, 0.0).free_the_dead(connection, live_seconds)",
        "0",
        HOSTS + "a_killed_coordinator_is_followed_by_the_same_command_at_once",
        "still there after",
    ),
    Protection(
        "the reaping",
        "search/storage_thread.py",
        "StorageThread._renew",
        "self._reaper.free(connection, expired)",
        "None",
        HOSTS + "a_lost_host_is_followed_by_any_other_when_its_leases_run_out",
        "still there after",
    ),
    Protection(
        "the limit of hosts",
        "search/reaper.py",
        "MAX_HOSTS",
        "10",
        "1000",
        "system/search/test_reaper.py::test_ten_hosts_lost_without_an_epoch_give_a_trial_up",
        "FAIL",
    ),
    Protection(
        "not by the name alone",
        "search/identity.py",
        "is_gone",
        "silent_seconds >= max(live_seconds, _seconds_since_boot())",
        "True",
        "system/search/test_reaper.py::test_two_machines_of_one_name_leave_each_other_their_trials",
        "assert 1 == 0",
    ),
    Protection(
        "a counter for each limit",
        "storage/leases.py",
        "_give_back",
        "attempt - deaths",
        "attempt",
        "system/storage/test_rows.py::test_lost_hosts_and_dead_trainers_are_counted_apart",
        "ValueError",
    ),
    Protection(
        "signing off costs nothing",
        "storage/leases.py",
        "sign_off",
        "None",
        "3",
        "system/storage/test_rows.py::test_lost_hosts_and_dead_trainers_are_counted_apart",
        "ValueError",
    ),
    Protection(
        "trainers leave with the socket",
        "channel.py",
        "Channel.leave",
        "os._exit(0)",
        "None",
        TRAINER + "it_leaves_at_once_without_its_coordinator",
        "TimeoutExpired",
    ),
    # SIGTERM and Ctrl-C.
    Protection(
        "the release",
        "search/loop.py",
        "Loop._release_everything",
        "self.pool.stop()",
        "None",
        HOSTS + "a_signal_puts_every_trial_down_within_8_seconds",
        "each trainer had the time",
    ),
    Protection(
        "not waiting for a silent trainer",
        "search/loop.py",
        "Loop._release_everything",
        "self.pool.busy and time.monotonic() < limit",
        "self.pool.busy",
        HOSTS + "trainers_that_hear_nothing_do_not_keep_a_process_that_is_to_leave",
        "still there after",
    ),
    Protection(
        "the second signal",
        "signals.py",
        "caught_signals.handle",
        "os._exit(128 + number)",
        "return",
        HOSTS + "a_second_signal_is_immediate_and_leaves_no_process",
        "still there after 2 s",
    ),
    # The lease is lost.
    Protection(
        "the loss being told",
        "search/storage_thread.py",
        "StorageThread._drop",
        "self._emit(TrialLost(trial_id, ...))",
        "None",
        HOSTS + "a_host_that_was_asleep_drops_what_another_has_taken",
        "ended or taken from outside",
    ),
    Protection(
        "only under one's own lease",
        "storage/saving.py",
        "_OURS",
        "f\"t.state = '{RUNNING}' AND l.worker_id = in_worker\"",
        "'true'",
        "system/storage/test_rows.py::test_saving_twice_is_harmless_and_somebody_elses_outcome_is_kept",
        "assert",
    ),
    Protection(
        "stopping at the next step",
        "training/trial_run.py",
        "TrialRun._ends_before",
        "if self._stop.asked:\n    return True",
        "pass",
        "unit/training/test_training_resume.py::test_interrupted_again_and_again_gives_the_same_bits[rmsprop]",
        "in the middle",
    ),
    # Clocks.
    Protection(
        "times by the database's clock",
        "storage/saving.py",
        "_SAVE",
        "UTC_NOW",
        "\"(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day')\"",  # as a host whose clock is wrong would have it
        HOSTS + "clocks_that_are_wrong_change_nothing",
        "= all(",
    ),
    Protection(
        "the deadline by the database's clock",
        "storage/studies.py",
        "budget",
        "row[0]",
        "row[0] and row[0] - (__import__('time').time() - connection.execute("
        "text('SELECT CAST(extract(epoch FROM now()) AS double precision)')).scalar_one())",
        HOSTS + "clocks_that_are_wrong_change_nothing",
        "epoch 1 of a trial",
    ),
)
