"""What others do to a study: the user, another run, plain Optuna, and strangers at the dashboard."""

from __future__ import annotations

from protections.protection import HOSTS, LIMITS, SHARED, Protection

__all__ = ["PEOPLE_PROTECTIONS"]

HOSTILE = "system/faults/test_hostile.py::test_"

PEOPLE_PROTECTIONS = (
    # What a run shows of itself.
    Protection(
        "no answer ends a run",
        "search/findings.py",
        "LiveFindings.of",
        "Exception",
        "ZeroDivisionError",
        "unit/search/test_live_findings.py::test_an_error_in_the_answers_is_said_once_and_is_no_end",
        "KeyError: 'a key that nobody thought of'",
    ),
    # The user says otherwise, renames or deletes the study.
    Protection(
        "trying the baseline again",
        "search/open_study.py",
        "_retry",
        "try_again(connection, study, study_id, everything=opening.retry_failed, target=opening.trials_target)",
        "''",
        HOSTS + "trials_that_only_failed_are_no_reason_to_refuse_the_mended_model",
        "it is tried again",
    ),
    Protection(
        "the wait being said",
        "search/storage_thread.py",
        "StorageThread._say_if_idle",
        "self._say(self._idle.sentence(connection))",
        "None",
        "system/test_whole_runs.py::test_a_run_beside_a_trial_that_plain_optuna_never_tells_says_so_and_ends_when_it_is_told",
        "'deadline' == 'trials'",
    ),
    Protection(
        "the user's word being heard",
        "search/storage_thread.py",
        "StorageThread._drop",
        "self._emit(TrialLost(trial_id, ...))",
        "None",
        HOSTS + "what_the_user_says_of_a_running_trial_stands",
        "ended or taken from outside",
    ),
    Protection(
        "keeping a study's name",
        "dashboard/renaming.py",
        "KeepsNames.__call__",
        "not self._is_ours(int(asked[1]))",
        "True",
        "system/dashboard/test_guard.py::test_a_study_of_hpo_is_not_renamed_and_one_of_plain_optuna_is",
        "assert 201 >= 400",
    ),
    Protection(
        "the deletion being said",
        "search/outage.py",
        "explained",
        "isinstance(error, NoStudy)",
        "False",
        HOSTS + "a_study_deleted_while_it_runs_ends_the_run_and_says_so",
        "this is a bug in hpo",
    ),
    # Another run, other code.
    Protection(
        "joining the budget at work",
        "search/budget.py",
        "agree",
        "not others or before.used_up",
        "True",
        "system/search/test_budget.py::test_a_run_without_a_limit_is_not_given_one",
        "(None, None)",
    ),
    Protection(
        "refusing changed code",
        "search/code.py",
        "check_finished_code",
        "own and not accepted",
        "False",
        HOSTS + "a_changed_file_of_the_users_own_model_is_refused_until_that_is_meant",
        "AssertionError",
    ),
    # Others who write into the study.
    Protection(
        "the refusal",
        "search/ask_tell.py",
        "AskTell.synchronise",
        "self._intake.refusal(trial)",
        "''",
        SHARED + "what_nobody_can_train_fails_with_its_reason_and_the_rest_is_trained",
        "AssertionError",
    ),
    Protection(
        "refusals are no bugs",
        "search/failure_tracker.py",
        "check_not_all_failed",
        "failure.get('kind') != REFUSED",
        "True",
        SHARED + "a_later_run_is_ended_by_none_of_it_and_a_study_of_refusals_only_is_no_failed_search",
        "every finished trial failed",
    ),
    Protection(
        "the intake",
        "search/ask_tell.py",
        "AskTell.synchronise",
        "self._intake.admit(trials)",
        "trials",
        SHARED + "trials_of_plain_optuna_with_distributions_of_their_own_end_no_search",
        "Error",
    ),
    Protection(
        "trained before told",
        "results/best.py",
        "eligible",
        "[trial for trial in found if _is_trained(trial)] or found",
        "found",
        "unit/test_best.py::test_a_value_told_from_outside_is_not_the_best_where_hpo_trained_a_trial",
        "assert",
    ),
    # Strangers before the login of the dashboard.
    Protection(
        "few tries for an address",
        "dashboard/login.py",
        "Login._try",
        "self.attempts.spend(address)",
        "pass",
        LIMITS + "sixty_wrong_passwords_at_once_cost_a_few_tries_and_hold_nobody_up",
        "assert",
    ),
    Protection(
        "two in the queue for scrypt",
        "dashboard/login.py",
        "Login.admits",
        "not self._queue.acquire(blocking=False)",
        "False",
        LIMITS + "only_two_wait_for_scrypt_and_the_others_are_refused_at_once",
        "DID NOT RAISE",
    ),
    Protection(
        "a connection gives way",
        "dashboard/connections.py",
        "bound.Channel.__init__",
        "_make_room(list(server.active_channels.values()), self, login)",
        "pass",
        LIMITS + "half_sent_requests_lock_nobody_out[header]",
        "assert 250 <= 100",
    ),
    Protection(
        "a time to arrive in",
        "dashboard/connections.py",
        "bound.maintenance",
        "_is_late(channel, now)",
        "False",
        LIMITS + "a_request_that_trickles_in_is_cut_off",
        "still open",
    ),
    # Anything in any table.
    Protection(
        "a uid inside its folder",
        "storage/studies.py",
        "RegisteredStudy.uid",
        "not is_file_name(uid)",
        "False",
        HOSTILE + "a_studys_uid_that_climbs_out_of_its_folder_is_refused",
        "AssertionError",
    ),
    Protection(
        "no number above its id",
        "storage/optuna_schema.py",
        "NUMBERED",
        "f't.number BETWEEN 0 AND t.trial_id AND t.number <= {LARGEST_NUMBER}'",
        "'t.number BETWEEN 0 AND 1073741824'",
        HOSTILE + "a_search_ends_by_itself_whatever_number_its_newest_trial_was_given[1073741824]",
        "time is up",
    ),
    Protection(
        "no row without its name",
        "storage/reads.py",
        "_fill.part",
        "key is not no_key",
        "False",
        HOSTILE + "every_text_column_may_hold_anything_for_every_command_that_reads",
        "Traceback",
    ),
)
