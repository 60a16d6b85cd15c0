"""What docs/failures.md rests on, as data: the code of each protection, and the test that fails when it is taken out.

tests/faults/take_out.py does that, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROTECTIONS", "Protection"]


@dataclass(frozen=True)
class Protection:
    """name: as in the last column of docs/failures.md. file: below hpo/. code: stands there once.

    without: what stands there instead when the protection is taken out
    test:    below tests/, as pytest names it
    fails:   words in which that test then fails: that it fails for this reason, and not for a slip of ours
    """

    name: str
    file: str
    code: str
    without: str
    test: str
    fails: str


TRIALS, HOSTS, DATABASE, RESUME = (
    f"faults/test_{name}.py::test_" for name in ("trials", "hosts", "database", "resume")
)
FIT, TRAINER = "training/test_training_fit.py::test_", "training/test_trainer.py::test_"

PROTECTIONS = (
    # A loss that is not finite.
    Protection(
        "constraint `finite`",
        "search/outcomes.py",
        '"diverged": "finite"',
        '"diverged": "nothing"',
        TRIALS + "a_diverged_trial_is_pruned_with_a_constraint_and_the_next_one_runs",
        "'nothing': 1.0",
    ),
    Protection(
        "not finite is diverged",
        "training/progress.py",
        "if not math.isfinite(loss):",
        "if False:",
        FIT + "a_loss_that_is_not_finite_is_diverged",
        "'complete' == 'diverged'",
    ),
    Protection(
        "exploded is diverged",
        "training/progress.py",
        "if loss > limit else None",
        "if False else None",
        FIT + "a_loss_that_is_not_finite_is_diverged",
        "'complete' == 'diverged'",
    ),
    # Out of memory.
    Protection(
        "constraint `memory`",
        "search/outcomes.py",
        '"out_of_memory": "memory"',
        '"out_of_memory": "nothing"',
        TRIALS + "out_of_memory_is_pruned_with_a_constraint_and_three_in_a_row_are_said",
        "'nothing': 1.0",
    ),
    Protection(
        "the count of three",
        "search/failure_tracker.py",
        "if self._out_of_memory and self._out_of_memory",
        "if False and 1",
        TRIALS + "out_of_memory_is_pruned_with_a_constraint_and_three_in_a_row_are_said",
        "trials in a row ran out of",
    ),
    Protection(
        "shapes recorded",
        "training/outcomes.py",
        "reason=_out_of_memory(job, error)",
        "reason=str(error)",
        FIT + "failures_are_told_apart",
        "startswith",
    ),
    Protection(
        "the trainer outlives it",
        "trainer.py",
        "except (Exception, SystemExit) as error:",
        "except ImportError as error:",
        TRAINER + "it_trains_job_after_job_whatever_a_model_does",
        "EOFError",
    ),
    # A bug of the user's.
    Protection(
        "the traceback",
        "search/outcomes.py",
        '"traceback": list(message.details)',
        '"traceback": []',
        TRIALS + "a_bug_fails_its_trial_with_type_message_and_traceback",
        "model.py",
    ),
    Protection(
        "its last lines",
        "training/outcomes.py",
        "details=lines[-DETAILS:]",
        "details=[]",
        FIT + "failures_are_told_apart",
        "IndexError",
    ),
    Protection(
        "the count of five",
        "search/failure_tracker.py",
        "if len(self._failures) == SAME_FAILURES",
        "if False",
        TRIALS + "the_same_bug_five_times_in_a_row_ends_the_run_with_70_and_that_bug",
        "all trials are done",
    ),
    # A trainer is killed.
    Protection(
        "the requeue",
        "search/loop.py",
        "self.ledger.requeue(trial, attempts=0 if stopping or slot.quarantined else 1)",
        "pass",
        TRIALS + "a_trial_whose_trainer_dies_is_resumed_on_a_fresh_one",
        "still there after",
    ),
    Protection(
        "the limit of attempts",
        "search/loop.py",
        "trial.attempts >= MAX_ATTEMPTS",
        "False",
        TRIALS + "a_trial_that_kills_every_trainer_is_given_up_after_three_attempts",
        "still there after",
    ),
    Protection(
        "a fresh trainer",
        "trainers/pool.py",
        "time.monotonic() >= slot.restart_at:",
        "False:",
        TRIALS + "a_trial_whose_trainer_dies_is_resumed_on_a_fresh_one",
        "a fresh trainer",
    ),
    Protection(
        "from its last checkpoint",
        "training/trial_run.py",
        "snapshot = self.checkpoints.load()",
        "snapshot = None",
        RESUME + "an_interrupted_trial_is_bit_for_bit_the_one_left_alone[kill_trainer]",
        "it went on from a checkpoint",
    ),
    # A coordinator is killed, a host is lost.
    Protection(
        "own trials at once",
        "search/open_study.py",
        "Reaper(study_id, identity, 0.0).free_the_dead(connection)",
        "0",
        HOSTS + "a_killed_coordinator_is_followed_by_the_same_command_at_once",
        "still there after",
    ),
    Protection(
        "the reaping",
        "search/storage_thread.py",
        "self._reaper.visit(connection)",
        "pass",
        HOSTS + "a_lost_host_is_followed_by_any_other_when_its_leases_run_out",
        "still there after",
    ),
    Protection(
        "the limit of hosts",
        "search/reaper.py",
        "MAX_HOSTS = 10",
        "MAX_HOSTS = 1000",
        "coordinator/test_reaper.py::test_ten_hosts_lost_without_an_epoch_give_a_trial_up",
        "FAIL",
    ),
    Protection(
        "trainers leave with the socket",
        "trainer.py",
        "        os._exit(0)\n\n    def _ask",
        "\n    def _ask",
        TRAINER + "it_leaves_at_once_without_its_coordinator",
        "TimeoutExpired",
    ),
    # SIGTERM and Ctrl-C.
    Protection(
        "the putting down",
        "search/loop.py",
        "        self.fleet.stop()\n",
        "",
        HOSTS + "a_signal_puts_every_trial_down_within_8_seconds",
        "each trainer had the time",
    ),
    Protection(
        "not waiting for the deaf",
        "search/loop.py",
        "while self.fleet.busy and time.monotonic() < limit:",
        "while self.fleet.busy:",
        HOSTS + "trainers_that_hear_nothing_do_not_keep_a_process_that_is_to_leave",
        "still there after",
    ),
    Protection(
        "the second signal",
        "signals.py",
        "            os._exit(128 + number)",
        "            return",
        HOSTS + "a_second_signal_is_immediate_and_leaves_no_process",
        "it waited for its trainers",
    ),
    # Connections cut or silent, the server away.
    Protection(
        "the retry",
        "search/storage_thread.py",
        "if is_outage(error):",
        "if False:",
        DATABASE + "terminated_connections_are_made_anew",
        "waits for the lock",
    ),
    Protection(
        "giving up a silent statement",
        "storage/statement_watchdog.py",
        "if now > due:",
        "if False:",
        DATABASE + "a_network_that_breaks_or_hangs_costs_nothing[stall]",
        "database away",
    ),
    Protection(
        "the retry while opening",
        "search/outage.py",
        "OPENING_PAUSES = (0.5, 1.0, 2.0, 4.0)",
        "OPENING_PAUSES = ()",
        DATABASE + "a_connection_that_breaks_while_a_study_is_opened_is_made_anew",
        "a connection in use",
    ),
    Protection(
        "keeping what was in flight",
        "search/storage_thread.py",
        "self._in_flight.merge(self.asker.mirror.take_writes())",
        "self._in_flight = self.asker.mirror.take_writes()",
        DATABASE + "a_server_away_for_longer_than_the_lease_costs_nothing",
        "still there after",
    ),
    Protection(
        "the grace",
        "search/reaper.py",
        "if now - self._first_seen[key] >= self._grace_seconds:",
        "if True:",
        DATABASE + "a_server_away_for_longer_than_the_lease_costs_nothing",
        "assert",
    ),
    Protection(
        "the grace begun anew",
        "search/storage_thread.py",
        "self._reaper.forget()",
        "pass",
        "coordinator/test_ledger.py::test_an_outage_makes_the_reaper_forget_what_it_saw_before",
        "forgot",
    ),
    Protection(
        "backoff with jitter",
        "search/outage.py",
        "random.uniform(0.5, 1.0)",
        "1.0",
        "coordinator/test_outage.py::test_pauses_grow_to_the_longest_and_no_two_hosts_keep_step",
        "assert",
    ),
    # Away for too long.
    Protection(
        "the journal",
        "search/search.py",
        'self._keep(left) if left else ""',
        '""',
        DATABASE + "outcomes_that_could_not_be_told_are_kept_and_told_by_the_next_command",
        "not enough values to unpack",
    ),
    Protection(
        "replay by any command",
        "results/reading.py",
        "_replay(engine, settings.home)\n    return",
        "pass\n    return",
        DATABASE + "outcomes_that_could_not_be_told_are_kept_and_told_by_the_next_command",
        "from the journal",
    ),
    Protection(
        "others are not overruled",
        "storage/save.py",
        "owned.add(trial_id)\n        elif finish is not None and",
        "owned.add(trial_id)\n        elif adopt:\n            owned.add(trial_id)\n        elif finish and",
        DATABASE + "a_journal_does_not_overrule_the_host_that_went_on_meanwhile",
        "dropped from the journal",
    ),
    Protection(
        "a line that means nothing",
        "storage/journal.py",
        " and (record := _record(payload)) is not None:",
        " and (record := json.loads(payload)) is not None:",
        "storage/test_journal.py::test_a_whole_line_that_means_nothing_here_is_damage",
        "Error",
    ),
    Protection(
        "a line the database refuses",
        "storage/journal.py",
        "except (DataError, TypeError, ValueError):",
        "except ZeroDivisionError:",
        "storage/test_journal.py::test_a_field_that_no_study_takes_is_damage",
        "Error",
    ),
    Protection(
        "the digest of a line",
        "storage/journal.py",
        "if hashlib.sha256(payload).hexdigest().encode() == digest and",
        "if",
        "storage/test_journal.py::test_an_altered_number_is_damage",
        "1 damaged line of the journal",
    ),
    # The embedded server is killed.
    Protection(
        "starting it again",
        "search/storage_thread.py",
        "            self._revive()",
        "            pass",
        DATABASE + "an_embedded_server_that_is_killed_is_started_again",
        "still there after",
    ),
    # The lease is lost, the user says otherwise, the study is deleted.
    Protection(
        "the loss being told",
        "search/storage_thread.py",
        'self._emit(TrialLost(trial_id, "it was ended or taken from outside"))',
        "pass",
        HOSTS + "a_host_that_was_asleep_drops_what_another_has_taken",
        "ended or taken from outside",
    ),
    Protection(
        "the user's word being heard",
        "search/storage_thread.py",
        'self._emit(TrialLost(trial_id, "it was ended or taken from outside"))',
        "pass",
        HOSTS + "what_the_user_says_of_a_running_trial_stands",
        "ended or taken from outside",
    ),
    Protection(
        "only under one's own lease",
        "storage/save.py",
        "state == RUNNING and holder == worker_id",
        "True",
        "storage/test_rows.py::test_saving_twice_is_harmless_and_somebody_elses_outcome_is_kept",
        "assert",
    ),
    Protection(
        "stopping at the next step",
        "training/trial_run.py",
        "            if stop.asked:\n                break\n",
        "",
        "training/test_training_resume.py::test_interrupted_again_and_again_gives_the_same_bits[rmsprop]",
        "in the middle",
    ),
    Protection(
        "the deletion being said",
        "search/outage.py",
        "if isinstance(error, NoStudy):",
        "if False:",
        HOSTS + "a_study_deleted_while_it_runs_ends_the_run_and_says_so",
        "this is a bug in hpo",
    ),
    # Clocks.
    Protection(
        "times by the database's clock",
        "storage/save.py",
        "datetime_complete = {UTC_NOW} FROM",
        "datetime_complete = '{datetime.now(UTC).replace(tzinfo=None)}' FROM",
        HOSTS + "clocks_that_are_wrong_change_nothing",
        "= all(",
    ),
    Protection(
        "the deadline by the database's clock",
        "storage/studies.py",
        "Budget(row[0], row[1],",
        "Budget(row[0] and row[0] - (__import__('time').time() - connection.execute("
        "text('SELECT CAST(extract(epoch FROM now()) AS double precision)')).scalar_one()), row[1],",
        HOSTS + "clocks_that_are_wrong_change_nothing",
        "epoch 1 of a trial",
    ),
    # Checkpoints.
    Protection(
        "the digest of a checkpoint",
        "training/checkpoint.py",
        " or payload[len(MAGIC) : start] != hashlib.sha256(body).digest()",
        "",
        FIT + "a_torn_checkpoint_gives_way_to_the_previous_one",
        "assert",
    ),
    Protection(
        "the one before",
        "training/checkpoint.py",
        'for name in ("current", "previous") if',
        'for name in ("current",) if',
        RESUME + "an_interrupted_trial_is_bit_for_bit_the_one_left_alone[tear_checkpoint]",
        "it went on from a checkpoint",
    ),
    Protection(
        "another configuration's is not used",
        "training/checkpoint.py",
        'if header["fingerprint"] == self._fingerprint:',
        "if True:",
        "training/test_training_resume.py::test_a_checkpoint_of_another_job_is_not_used",
        "assert",
    ),
    Protection(
        "written beside and renamed",
        "atomic_file.py",
        'path.with_name(f".{path.name}.{os.getpid()}")',
        "path",
        "test_replacement.py::test_a_process_killed_in_the_middle_leaves_the_old_file",
        "half of the new",
    ),
    # Disk full.
    Protection(
        "the refusal being taken",
        "training/checkpoint.py",
        "        except OSError as error:\n            self._refuse(error)\n            return False",
        "        except ZeroDivisionError:\n            return False",
        RESUME + "a_full_disk_is_said_and_costs_no_result",
        "File too large",
    ),
    Protection(
        "room running out",
        "training/checkpoint.py",
        "        except OSError as error:\n            self._refuse(error)\n            return False",
        "        except ZeroDivisionError:\n            return False",
        RESUME + "a_file_system_without_room_is_said_and_costs_no_result",
        "No space left on device",
    ),
    # A sick device.
    Protection(
        "the quarantine",
        "trainers/health.py",
        "return self.lost_in_a_row >= QUARANTINE_AFTER and",
        "return False and",
        TRIALS + "a_sick_slot_is_quarantined_and_its_trials_run_elsewhere",
        "left alone",
    ),
    Protection(
        "going elsewhere",
        "trainers/pool.py",
        "if trial.attempt > 1 and any(",
        "if False and any(",
        TRIALS + "a_sick_slot_is_quarantined_and_its_trials_run_elsewhere",
        "goes elsewhere",
    ),
    Protection(
        "no attempt counted",
        "search/loop.py",
        "0 if stopping or slot.quarantined else 1",
        "1",
        TRIALS + "a_host_without_a_working_slot_says_so_and_leaves_its_trials",
        "none of the trial's",
    ),
    Protection(
        "no slot left is said",
        "search/loop.py",
        "        self.fleet.check()\n",
        "",
        TRIALS + "a_host_without_a_working_slot_says_so_and_leaves_its_trials",
        "still there after",
    ),
    Protection(
        "waiting with the nodes",
        "ray/driver.py",
        "    except StorageError:\n        return None",
        "    except StorageError:\n        raise",
        "deploy/test_ray.py::test_a_database_that_is_away_for_a_while_ends_neither_the_driver_nor_a_node",
        "cannot reach the database",
    ),
    # Another run, other code.
    Protection(
        "joining the budget at work",
        "search/budget.py",
        "if not others or before.used_up:",
        "if True:",
        "coordinator/test_budget.py::test_a_run_without_a_limit_is_not_given_one",
        "(None, None)",
    ),
    Protection(
        "refusing changed code",
        "search/code.py",
        "if own and not accepted:",
        "if False:",
        HOSTS + "a_changed_file_of_the_users_own_model_is_refused_until_that_is_meant",
        "AssertionError",
    ),
    Protection(
        "numbers are not the error",
        "search/failure_tracker.py",
        '"#", reason)',
        "lambda same: same[0], reason)",
        TRIALS + "an_error_whose_message_has_the_trials_own_numbers_is_the_same_error",
        "AssertionError",
    ),
)
