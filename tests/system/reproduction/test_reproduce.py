"""A trial trained again: the same bit for bit, or what differs by name; and the study untouched either way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, text

from hpo.errors import DeviceError, StudyError
from hpo.reproduction import Reproduction
from hpo.reproduction.comparing import mismatches
from hpo.settings import Settings
from tests.system.reproduction.conftest import everything

Again = Callable[..., Reproduction]
Changed = Callable[..., Any]

ATTRIBUTE = (
    "UPDATE trial_user_attributes SET value_json = :value WHERE key = :key AND trial_id ="
    " (SELECT trial_id FROM trials t JOIN studies s ON s.study_id = t.study_id"
    " WHERE s.study_name = 'three_ends' AND t.number = 0)"
)


@pytest.mark.parametrize(
    ("number", "ending", "epochs"), [(0, "complete", 4), (2, "pruned", 2), (3, "diverged", 0)], ids=str
)
def test_the_same_hardware_gives_the_same_curve_bit_for_bit(
    again: Again, engine: Engine, number: int, ending: str, epochs: int
) -> None:
    """Whatever end the trial came to; a pruned one as far as it went. The database is as it was."""
    before = everything(engine)
    done = again(number)
    assert done.same
    assert (done.then_ending, done.then_epochs, done.compared) == (ending, epochs, epochs)
    assert done.mismatches == ()
    assert done.changes == ()
    assert everything(engine) == before


def test_an_epoch_that_the_clock_cut_short_is_not_compared(again: Again) -> None:
    done = again(0, "hurried")
    assert done.same
    assert done.compared == done.then_epochs - 1
    assert any("max_seconds" in note for note in done.notes)


def test_one_wrong_bit_is_found_and_named(again: Again, engine: Engine, changed: Changed) -> None:
    """The last bit of one number of one epoch, as a changed library might leave it."""
    step = "UPDATE hpo_epochs SET val_loss = val_loss {} 1.1e-16 * val_loss WHERE epoch = 3"
    with engine.connect() as connection:
        before = connection.execute(text("SELECT val_loss FROM hpo_epochs WHERE epoch = 3 LIMIT 1")).scalar_one()
    put_back = f"UPDATE hpo_epochs SET val_loss = {before!r} WHERE epoch = 3 AND abs(val_loss - {before!r}) < 1e-12"
    with changed(step.format("+") + " AND val_loss = :before", put_back + " AND :before > 0", before=before):
        done = again(0)
    assert not done.same
    assert [(one.epoch, one.metric) for one in done.mismatches] == [(3, "val_loss")]


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("git_commit", "0123abc", "commit"),
        ("versions", {"torch": "1.0.0"}, "version of torch"),
        ("device_name", "Zuse Z3", "device"),
        ("data_checksum", "0" * 64, "data checksum"),
    ],
)
def test_what_is_not_as_it_was_is_named(
    again: Again, engine: Engine, changed: Changed, key: str, value: Any, what: str
) -> None:
    """Also where the curve is the same all the same, so that nobody mistakes luck for a proof."""
    with engine.connect() as connection:
        query = "SELECT value_json FROM trial_user_attributes WHERE key = :key ORDER BY trial_id LIMIT 1"
        before = connection.execute(text(query), {"key": key}).scalar_one()
    undo = ATTRIBUTE.replace(":value", ":before")
    with changed(ATTRIBUTE + " AND value_json = :before", undo, key=key, value=json.dumps(value), before=before):
        done = again(0)
    assert done.same
    assert what in [change.what for change in done.changes]


def test_changed_source_files_are_named(again: Again, changed: Changed) -> None:
    change = "UPDATE hpo_sources SET files = replace(files, '{}', '{}') WHERE :yes"
    here, there = '"hpo/models/mlp.py"', '"hpo/models/gone.py"'
    with changed(change.format(here, there), change.format(there, here), yes=True):
        done = again(0)
    found = {change.what: (change.then is None, change.now is None) for change in done.changes}
    assert found == {"source file hpo/models/gone.py": (False, True), "source file hpo/models/mlp.py": (True, False)}


def test_a_changed_table_is_named_and_the_recorded_one_trained(again: Again, tmp_path: Path) -> None:
    source = Path(__file__).with_name("three_ends.py").read_text()
    path = tmp_path / "three_ends.py"
    path.write_text(source.replace("epochs=4", "epochs=5").replace("1e9, log", "1e8, log").replace("1e9}", "1e8}"))
    done = again(0, str(path))
    assert done.same
    assert {"study row lr", "study row (epochs)"} <= {change.what for change in done.changes}


def test_a_study_file_that_is_gone_is_no_hindrance(again: Again, changed: Changed) -> None:
    with changed(
        "UPDATE hpo_studies SET source = '/gone.py' WHERE source = :source",
        "UPDATE hpo_studies SET source = :source",
        source=str(Path(__file__).with_name("three_ends.py")),
    ):
        done = again(0, "three_ends")
    assert done.same
    assert any("not found again" in note for note in done.notes)


def test_code_that_only_the_database_names_is_never_run(again: Again, changed: Changed, tmp_path: Path) -> None:
    """A file, a builder or a loader: refused with what would have run, and run where the user names it."""
    boom, file = tmp_path / "boom", tmp_path / "planted.py"
    file.write_text(f"open({str(boom)!r}, 'w')\nbuild = load = None\n")
    here, there = str(Path(__file__).with_name("three_ends.py")), str(file)
    source = ("UPDATE hpo_studies SET source = :there WHERE source = :here", "UPDATE hpo_studies SET source = :here")
    builder = "UPDATE hpo_studies SET facts = replace(facts, :{}, :{})"
    for old, new in (("hpo.models.mlp:shallow", "planted:build"), ("hpo.data.digits:load", "planted:load")):
        names = {"old": old, "new": new, "here": here, "there": there}
        with changed(builder.format("old", "new"), builder.format("new", "old"), **names), changed(*source, **names):
            with pytest.raises(StudyError, match="runs code only from a file that you name") as unnamed:
                again(0, "three_ends")
            assert f"--study {there} --name three_ends" in unnamed.value.next
            with pytest.raises(StudyError, match="trained by code that the study's file does not name") as unknown:
                again(0)
            assert new in unknown.value.evidence[0]
    assert not boom.exists()
    assert again(0, there, name="three_ends").same
    assert boom.exists(), "the file does nothing, so this test shows nothing"


def test_a_trial_of_an_earlier_hpo_is_told_what_its_model_is_called_now(again: Again, changed: Changed) -> None:
    """Not that the study's file has changed."""
    facts = "UPDATE hpo_studies SET facts = replace(facts, :{}, :{})"
    names = {"now": '"hpo.models.mlp:shallow"', "before": '"models.mlp:shallow"'}
    with changed(facts.format("now", "before"), facts.format("before", "now"), **names):
        with pytest.raises(StudyError, match="trained by an earlier hpo") as refused:
            again(0)
        assert refused.value.evidence == ("models.mlp:shallow is now hpo.models.mlp:shallow",)


def test_trials_that_cannot_be_reproduced_are_refused(again: Again, changed: Changed, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has no trial 99"):
        again(99)
    with pytest.raises(StudyError, match="no study"):
        again(0, "three_end")
    plain = f"sqlite:///{tmp_path / 'plain.db'}"
    optuna.create_study(storage=plain, study_name="plain").add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(StudyError, match="does not say how"):
        again(0, "plain", storage=plain)
    state = "UPDATE trials SET state = '{}' WHERE number = 0 AND :yes"
    with (
        changed(state.format("RUNNING"), state.format("COMPLETE"), yes=True),
        pytest.raises(StudyError, match="nothing to reproduce"),
    ):
        again(0)


def test_a_device_that_is_not_there_is_named(again: Again) -> None:
    with pytest.raises(DeviceError, match="no device cuda:99"):
        again(0, device="cuda:99")


def test_the_command_says_it_in_words_in_json_and_by_its_exit_code(
    again: Again, searched: Settings, changed: Changed, capsys: pytest.CaptureFixture[str]
) -> None:
    from hpo.cli.main import run_command

    words = ["reproduce", "--study", "three_ends", "--trial", "2"]
    assert run_command(words) == 0
    captured = capsys.readouterr()
    assert "the same, bit for bit" in captured.out
    assert "epoch 2/2" in captured.err
    wrong = "UPDATE hpo_epochs SET lr = lr {} :two WHERE epoch = 1"
    with changed(wrong.format("*"), wrong.format("/"), two=2):
        assert run_command([*words, "--json", "--quiet"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["same"] is False
    assert document["mismatches"][0]["metric"] == "lr"


def test_nan_is_the_same_as_nan_and_nothing_else() -> None:
    nan = float("nan")
    assert mismatches(1, {"val_loss": nan}, {"val_loss": nan}) == []
    assert len(mismatches(1, {"val_loss": nan}, {"val_loss": 0.0})) == 1
    assert len(mismatches(1, {"val_loss": None}, {"val_loss": 0.0})) == 1
