"""What a report says about a study."""

from __future__ import annotations

import math
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from report_studies import searched, told

from hpo.insight.saving import pruning_saving
from hpo.report import ReportData
from hpo.results.reading import StudyView

ReportOf = Callable[..., ReportData]


def test_best_trials_are_ranked_and_at_most_top(report_of: ReportOf) -> None:
    """`best` holds the `top` best complete trials, best first, and the table gives them their rank."""
    data = report_of(searched, top=3)
    values = [trial.values[0] for trial in data.best]
    complete = sorted((trial.values[0] for trial in data.view.trials if trial.state.name == "COMPLETE"), reverse=True)
    assert values == complete[:3]
    assert data.best_trials["rank"].tolist() == [1, 2, 3]
    assert data.best_trials["value"].tolist() == values


def test_infeasible_trials_are_never_best(report_of: ReportOf) -> None:
    """A trial that broke a constraint is not called best, and its row says so."""

    def fill(study: optuna.Study) -> None:
        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0.0, 1.0)
            trial.set_constraint("limit", x - 0.5)
            return x

        study.sampler = optuna.samplers.RandomSampler(seed=1)
        study.optimize(objective, n_trials=20)

    data = report_of(fill)
    assert all(trial.params["x"] <= 0.5 for trial in data.best)
    assert data.trials.loc[~data.trials["eligible"], "constraint_limit"].gt(0).all()
    assert data.trials.loc[data.trials["eligible"], "constraint_limit"].le(0).all()


def test_several_objectives_give_the_pareto_front(report_of: ReportOf) -> None:
    """With two objectives the best are the trials no other beats in both."""

    def fill(study: optuna.Study) -> None:
        study.set_metric_names(["loss", "accuracy"])
        points = [(1.0, 1.0), (2.0, 2.0), (2.0, 1.5), (3.0, 3.0)]
        for values in points:
            study.add_trial(create_trial(values=list(values)))

    data = report_of(fill, directions=("minimize", "maximize"))
    assert [trial.number for trial in data.best] == [0, 1, 3]
    assert data.objectives == ("loss", "accuracy")


def test_pruning_saves_the_epochs_that_did_not_happen(report_of: ReportOf) -> None:
    """The saving is what each pruned trial lacked of the usual length, at its own seconds a step."""

    def fill(study: optuna.Study) -> None:
        study.add_trial(told("COMPLETE", 0.5, steps=10, x=0.1))
        pruned = told("PRUNED", 0.1, steps=2, x=0.2)
        pruned.set_user_attr("seconds", 4.0)
        study.add_trial(pruned)
        diverged = told("PRUNED", steps=1, x=0.3)
        diverged.set_user_attr("failure", {"kind": "diverged", "reason": "NaN"})
        study.add_trial(diverged)

    saving = report_of(fill).saving
    assert saving is not None
    assert (saving.pruned, saving.usual_steps) == (1, 10)
    assert saving.seconds == pytest.approx(8 * 2.0)


def test_what_a_trainer_loads_first_is_not_saved_again_by_pruning() -> None:
    """The first job of a trainer includes loading torch; the trainer records what training and scoring took alone."""
    whole, pruned = told("COMPLETE", 0.5, steps=10, x=0.1), told("PRUNED", 0.1, steps=2, x=0.2)
    pruned.number = 1
    pruned.set_user_attr("seconds", 20.0)
    pruned.set_user_attr("train_seconds", 1.0)
    pruned.set_user_attr("eval_seconds", 0.2)
    saving = pruning_saving(StudyView("s", ("maximize",), (whole, pruned)))
    assert saving is not None
    assert saving.seconds == pytest.approx(8 * 0.6)


def test_a_trial_that_was_to_train_less_long_saves_no_more_than_its_own_epochs() -> None:
    """Where `epochs` is a parameter: a pruned trial of five would not have trained the usual ten."""
    whole, pruned = told("COMPLETE", 0.5, steps=10, x=0.1), told("PRUNED", 0.1, steps=2, x=0.2)
    pruned.number = 1
    pruned.params = {**pruned.params, "epochs": 5}
    pruned.set_user_attr("seconds", 4.0)
    saving = pruning_saving(StudyView("s", ("maximize",), (whole, pruned)))
    assert saving is not None
    assert saving.seconds == pytest.approx(3 * 2.0)


def test_baseline_is_compared_in_the_direction_of_the_study(report_of: ReportOf) -> None:
    """A gain is above zero when the best is better, also where smaller is better."""

    def fill(study: optuna.Study) -> None:
        baseline = told("COMPLETE", 0.5, x=0.5)
        baseline.set_user_attr("origin", "baseline")
        study.add_trial(baseline)
        study.add_trial(told("COMPLETE", 0.2, x=0.1))

    comparison = report_of(fill, directions=("minimize",)).comparison
    assert comparison is not None
    assert comparison.gain == pytest.approx(0.3)


def test_failures_are_grouped_by_reason_with_a_traceback(report_of: ReportOf) -> None:
    """Trials that failed for one reason stand together, and a FAIL without a record is not forgotten."""

    def fill(study: optuna.Study) -> None:
        searched(study)
        study.add_trial(told("FAIL"))

    failures = {failure.reason: failure for failure in report_of(fill).failures}
    assert failures["shape mismatch"].trials == (7, 17, 27)
    assert failures["shape mismatch"].traceback == ("in forward", "ValueError: 3")
    assert failures["no reason recorded"].trials == (30,)


def test_per_layer_parameters_are_one_group(report_of: ReportOf) -> None:
    """width_0, width_1, width_2 are shown one by one and as their sum."""
    data = report_of(lambda study: searched(study, 90))
    rows = [row for row in data.importances.rows if row.method == "PED-ANOVA"]
    group = next(row for row in rows if row.members)
    assert (group.parameter, group.members) == ("width", ("width_0", "width_1", "width_2"))
    assert group.share == pytest.approx(sum(row.share for row in rows if row.parameter in group.members))
    assert sum(row.share for row in rows if not row.members) == pytest.approx(1.0)


def test_importances_find_what_mattered_by_both_methods(report_of: ReportOf) -> None:
    """Only lr decides the value, and both methods put it first, over the trials that have it."""
    data = report_of(lambda study: searched(study, 90))
    complete = len(data.complete)
    for method in ("PED-ANOVA", "fANOVA"):
        first = next(row for row in data.importances.rows if row.method == method)
        assert (first.parameter, first.trials) == ("lr", complete)


def test_few_trials_and_rare_parameters_are_warned_of(report_of: ReportOf) -> None:
    """Below 20 complete trials, and for a conditional parameter that few had, the report says it is a guess."""
    data = report_of(lambda study: searched(study, 20))
    warned = " ".join(data.importances.warnings)
    assert f"rest on {len(data.complete)} complete trials" in warned
    assert "momentum (" in warned
    assert data.importances.ranking("value")[0] != "momentum"


def test_enough_trials_are_not_warned_of(report_of: ReportOf) -> None:
    """Twenty complete trials with every parameter are enough, and both methods judge them."""

    def fill(study: optuna.Study) -> None:
        study.add_trials([told("COMPLETE", i / 20, x=i / 20, y=(7 * i % 20) / 20) for i in range(20)])

    found = report_of(fill).importances
    assert (found.warnings, found.missing) == ((), ())
    assert {row.method for row in found.rows} == {"PED-ANOVA", "fANOVA"}


def test_a_group_that_rests_on_guesses_is_a_guess(report_of: ReportOf) -> None:
    """The sum over layers is no surer than the rare layers that make most of it."""

    def fill(study: optuna.Study) -> None:
        whole = optuna.distributions.FloatDistribution(0.0, 1.0)
        for i in range(30):
            params = {"width_0": (7 * i % 30) / 30} | ({"width_1": i / 30} if i % 5 == 0 else {})
            value = params.get("width_1", 0.1)
            study.add_trial(create_trial(value=value, params=params, distributions=dict.fromkeys(params, whole)))

    rows = {row.parameter: row for row in report_of(fill).importances.rows if row.method == "PED-ANOVA"}
    assert rows["width_1"].share > rows["width_0"].share
    assert rows["width"].warning == "mostly the guesses of width_1"


def test_ranges_that_changed_are_shown_as_their_union(report_of: ReportOf) -> None:
    """Optuna lets a script change a range: the report shows what the trials saw."""

    def fill(study: optuna.Study) -> None:
        for low, high in ((0.0, 1.0), (0.5, 3.0)):
            distribution = optuna.distributions.FloatDistribution(low, high)
            study.add_trial(create_trial(value=1.0, params={"x": high}, distributions={"x": distribution}))

    assert report_of(fill).parameters[0].text == "0.0 .. 3.0"


def test_infinite_results_are_not_complete(report_of: ReportOf) -> None:
    """An infinite value counts as a trial, and neither as best nor in any importance."""

    def fill(study: optuna.Study) -> None:
        study.add_trial(told("COMPLETE", math.inf, x=0.5))
        study.add_trial(told("COMPLETE", 1.0, x=0.1))

    data = report_of(fill)
    assert [trial.number for trial in data.best] == [1]
    assert len(data.complete) == 1
    assert data.view.counts["complete"] == 2


def test_running_studies_can_be_reported(report_of: ReportOf) -> None:
    """Trials that run or wait are counted, with their times open."""

    def fill(study: optuna.Study) -> None:
        study.add_trial(told("COMPLETE", 1.0, x=0.1))
        study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
        study.enqueue_trial({"x": 0.3})

    data = report_of(fill)
    assert (data.view.counts["running"], data.view.counts["waiting"]) == (1, 1)
    assert data.trials.loc[data.trials["state"] == "running", "finished"].isna().all()
    assert TrialState.RUNNING in {trial.state for trial in data.view.trials}
