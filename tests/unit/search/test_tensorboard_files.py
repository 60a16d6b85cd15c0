"""The event files of `--tensorboard`, as the HParams plugin of a stock TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from hpo import Categorical, Float, Study
from hpo.search.outcomes import Outcome
from hpo.search.tensorboard import SHOWN, TensorBoardProgress
from hpo.study.discovery import find_study
from hpo.trainers.trial import Trial

pytest.importorskip("tensorboard", reason="pip install tensorboard")

ENDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def written(study: Study, folder: Path, **params: Any) -> Path:
    """A trial of each outcome."""
    storage: Any = SimpleNamespace(live_counts=lambda: None)
    progress = TensorBoardProgress(str(folder), study, storage, {})
    for number, state in enumerate(ENDS):
        trial = Trial(number + 1, number, 1, {"lr": 0.01, "optimizer": "adam", "layers": 2, **params}, {}, "")
        values = (0.5,) if state != TrialState.FAIL else None
        progress._finish(trial, Outcome(state, values, {}))
    progress.close()
    return folder


def answered(folder: Path) -> tuple[Any, list[Any]]:
    """(the experiment, its session groups): what the page of TensorBoard is given, by the code that gives it."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    read = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    context = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(read, str(folder))))
    asked = RequestContext()
    experiment = get_experiment.Handler(asked, context, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(slice_size=100)
    request.allowed_statuses.extend([api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE])
    groups = list_session_groups.Handler(asked, context, "", request).run()
    return experiment, list(groups.session_groups)


def test_pruned_and_complete_are_told_apart_and_what_matters_is_in_view(tmp_path: Path) -> None:
    """TensorBoard has no state for a pruned trial: both were a success. It shows five columns, those that differ first,
    and hid layers, lr and optimizer behind hidden_units_0 to _3."""
    experiment, groups = answered(written(find_study("mlp_mnist").study, tmp_path))
    columns = [info.name for info in experiment.hparam_infos]
    assert set(columns[:SHOWN]) == {"status", "lr", "optimizer", "layers", "batch_size"}
    assert [info.differs for info in experiment.hparam_infos] == [True] * SHOWN + [False] * (len(columns) - SHOWN)
    choices = {info.name: list(info.domain_discrete) for info in experiment.hparam_infos}
    assert choices["status"] == ["complete", "pruned", "failed"]
    assert choices["optimizer"] == ["adam", "sgd"]
    found = {group.name.rsplit("-", 1)[-1]: group for group in groups}
    assert {name: group.hparams["status"].string_value for name, group in found.items()} == {
        "00000": "complete", "00001": "pruned", "00002": "failed",
    }  # fmt: skip
    assert [group.sessions[0].status for _, group in sorted(found.items())] == [1, 1, 2]


def test_a_parameter_of_that_name_keeps_it(tmp_path: Path) -> None:
    named = Study(
        name="own",
        train="my_training:train",
        objective="val_f1",
        direction="maximize",
        space={"lr": Float(1e-4, 1e-1, log=True), "status": Categorical("a", "b")},
        baseline={"lr": 1e-3, "status": "a"},
    )
    experiment, groups = answered(written(named, tmp_path, status="b"))
    assert [info.name for info in experiment.hparam_infos] == ["lr", "status", "trial_status"]
    assert {group.hparams["status"].string_value for group in groups} == {"b"}
    assert {group.hparams["trial_status"].string_value for group in groups} == set(ENDS.values())
