"""hpo evaluate end to end: real trainers, a real PostgreSQL, scikit-learn's digits."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import optuna
import pytest
from evaluated_study import QUICK, Evaluated
from safetensors.torch import load_file

from hpo.errors import StudyError, UsageError
from hpo.evaluation.candidates import choose
from hpo.evaluation.evaluate import EvaluateOptions, EvaluationProgress, evaluate
from hpo.report import build_report, write_report
from hpo.results.evaluation import (
    ConfigurationRow,
    EvaluationDocument,
    MeanRow,
    Mistake,
    Mistakes,
    RunRow,
    SearchRerun,
    Verdict,
    as_document,
)
from hpo.results.reading import open_for_reading, read_study
from hpo.seeds import trial_seed
from hpo.settings import Settings
from hpo.storage import queries
from hpo.storage.artifacts import artifact_store, attach
from hpo.storage.evaluations import read_evaluation
from hpo.study.discovery import find_study


def test_every_configuration_is_measured(evaluated: Evaluated) -> None:
    """The two best, the baseline and the known one each have scores, costs and a confusion matrix of all their runs."""
    document = evaluated.evaluation.document
    found = document["configurations"]
    assert [row["rank"] for row in found] == [1, 2, None, None]
    assert [row["baseline"] for row in found].count(True) == 1
    assert found[-1]["name"] == "known 1"
    assert found[-1]["epochs_from"] == "median best epoch of the others"
    for row in found:
        assert row["test_accuracy"]["n"] == len(row["runs"]) == 2
        assert (row["test_accuracy"]["low"], row["test_accuracy"]["no_interval"]) == (None, "2 runs")
        assert sum(map(sum, row["confusion"])) == 2 * document["test_images"]
        right = sum(row["confusion"][index][index] for index in range(10))
        assert right / (2 * document["test_images"]) == pytest.approx(row["test_accuracy"]["mean"])
        assert set(row["per_class_accuracy"]) == set("0123456789")
        assert 0 < row["macro_f1"]["mean"] <= 1
        assert 0 < row["latency_p50_ms"] <= row["latency_p95_ms"]
        assert row["images_per_second"] > 0
        assert row["model_bytes"] == 4 * row["parameters"]
        assert row["train_seconds"]["mean"] > 0


def test_the_optimism_gap_is_search_minus_test(evaluated: Evaluated) -> None:
    """Where the search scored the configuration, the gap is that score minus the test mean; elsewhere there is none."""
    *searched, known = evaluated.evaluation.document["configurations"]
    for row in searched:
        assert row["optimism_gap"] == pytest.approx(row["search_val_accuracy"] - row["test_accuracy"]["mean"])
    assert known["optimism_gap"] is None


def test_seeds_are_fresh(evaluated: Evaluated) -> None:
    """No run has a seed of the search, and no two runs share one."""
    seeds = [run["seed"] for row in evaluated.evaluation.document["configurations"] for run in row["runs"]]
    assert len(set(seeds)) == len(seeds) == 8
    assert not set(seeds) & {trial_seed(0, number) for number in range(100)}


def test_the_winner_is_saved(evaluated: Evaluated) -> None:
    """Its folder holds weights, configuration, both checkpoints, and the course of training with the agreed columns."""
    folder = evaluated.folder / "winner"
    for name in ("model", "best", "last"):
        assert load_file(folder / f"{name}.safetensors")
    config = json.loads((folder / "config.json").read_text())
    assert config["name"] == evaluated.evaluation.document["winner"]
    with (folder / "metrics.csv").open() as file:
        records = list(csv.DictReader(file))
    accuracies = ["train_accuracy", "val_accuracy", "test_accuracy"]
    assert list(records[0]) == ["phase", "epoch", "train_loss", *accuracies, "lr", "timestamp"]
    final = [record for record in records if record["phase"] == "final"]
    search = [record for record in records if record["phase"] == "search"]
    assert len(final) == config["epochs"]
    assert [bool(record["test_accuracy"]) for record in final] == [False] * (len(final) - 1) + [True]
    assert all(record["val_accuracy"] for record in search)
    assert all(record["timestamp"] > "2020" for record in records)


def test_the_winner_trains_again_as_in_the_search(evaluated: Evaluated) -> None:
    """Trained with the seed of its trial it comes to the very score that the search recorded."""
    document = evaluated.evaluation.document
    row = next(row for row in document["configurations"] if row["name"] == document["winner"])
    assert document["search_rerun"]["same"] is (True if row["trial"] is not None else None)


def test_the_document_is_in_the_database(evaluated: Evaluated, home: Settings) -> None:
    """read_evaluation gives what evaluation.json says."""
    engine = open_for_reading(None, home)
    with engine.connect() as connection:
        study = queries.find_study(connection, "quick")
        assert study is not None
        stored = read_evaluation(connection, study.study_id)
    engine.dispose()
    assert stored == evaluated.evaluation.document == json.loads((evaluated.folder / "evaluation.json").read_text())


def test_the_document_has_the_keys_of_its_types(evaluated: Evaluated) -> None:
    """EvaluationDocument says what evaluation.json holds: no key more and none less, down to each run.

    Left out here are those of a training of the user's own, and of other tasks than classification.
    """
    others = {"metric", "direction", "task", "residuals", "picture"}
    document = json.loads((evaluated.folder / "evaluation.json").read_text())
    assert document.keys() == EvaluationDocument.__annotations__.keys() - others
    assert document["verdict"].keys() == Verdict.__annotations__.keys()
    assert document["search_rerun"].keys() == SearchRerun.__annotations__.keys() - {"score"}
    for row in document["configurations"]:
        assert row.keys() == ConfigurationRow.__annotations__.keys() - {
            "score",
            "search_score",
            "metrics",
            "per_class_iou",
        }
        for name in ("test_accuracy", "test_loss", "macro_f1", "train_seconds"):
            assert row[name].keys() == MeanRow.__annotations__.keys()
        assert all(run.keys() == RunRow.__annotations__.keys() - {"metrics"} for run in row["runs"])
    assert document["mistakes"].keys() == Mistakes.__annotations__.keys()
    for mistake in document["mistakes"]["shown"]:
        assert mistake.keys() == Mistake.__annotations__.keys() - {"file"}


def test_the_winner_s_files_are_optuna_artifacts(evaluated: Evaluated, home: Settings) -> None:
    """Plain Optuna lists them on the winning trial (or the study) and the store has their bytes."""
    engine = open_for_reading(None, home)
    storage = optuna.storages.RDBStorage(engine.url.render_as_string(hide_password=False), skip_table_creation=True)
    document = evaluated.evaluation.document
    winner = next(row for row in document["configurations"] if row["name"] == document["winner"])
    study = optuna.load_study(study_name="quick", storage=storage)
    target: Any = study if winner["trial"] is None else study.trials[winner["trial"]]
    found = {meta.filename: meta for meta in optuna.artifacts.get_all_artifact_meta(target, storage=storage)}
    engine.dispose()
    storage.engine.dispose()
    assert {"model.safetensors", "config.json", "metrics.csv", "evaluation.json"} <= found.keys()
    kept = home.home / "artifacts" / found["model.safetensors"].artifact_id
    assert kept.read_bytes() == (evaluated.folder / "winner" / "model.safetensors").read_bytes()


def test_finished_runs_are_kept(evaluated: Evaluated, home: Settings, tmp_path: Path) -> None:
    """The same evaluation again trains nothing and says the same; one more seed trains only the new runs."""
    seen: list[EvaluationProgress] = []
    said: list[str] = []
    options = EvaluateOptions(top=2, seeds=2, known=True, out=tmp_path, on_progress=seen.append, on_notice=said.append)
    again = evaluate(QUICK, options, home)
    assert said == ["8 of 8 runs are done already"]
    assert seen[0].runs_done == 8
    same = [row["test_accuracy"] for row in again.document["configurations"]]
    assert same == [row["test_accuracy"] for row in evaluated.evaluation.document["configurations"]]
    assert (tmp_path / "winner" / "model.safetensors").read_bytes() == (
        evaluated.folder / "winner" / "model.safetensors"
    ).read_bytes()


def test_an_interrupted_evaluation_goes_on(home: Settings, tmp_path: Path) -> None:
    """Ctrl-C after some runs exits with 130 and writes nothing; the same evaluation again trains only the others."""
    command = [sys.executable, "-m", "hpo", "evaluate", "--study", QUICK, "--top", "1", "--seeds", "40"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [*command, "--trainers", "1", "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stderr is not None
        said = [next(line for line in process.stderr if re.match("[1-9]", line))]  # after a tenth of them
        process.send_signal(signal.SIGINT)
        said += process.stderr
    assert process.returncode == 130
    assert "run the same command again to resume" in said[-1]
    assert not list(tmp_path.iterdir())
    heard: list[str] = []
    done = evaluate(QUICK, EvaluateOptions(top=1, seeds=40, out=tmp_path, on_notice=heard.append), home)
    already = int(heard[0].split()[0])
    assert int(said[0].split()[0]) <= already < 80
    assert [len(row["runs"]) for row in done.document["configurations"]] == [40, 40]


def test_an_unknown_study_is_named(home: Settings, tmp_path: Path) -> None:
    """The error names the nearest study there is."""
    with pytest.raises(StudyError, match="quick"):
        evaluate("quik", EvaluateOptions(out=tmp_path), home)


def test_a_file_that_only_the_database_names_is_not_run(home: Settings, tmp_path: Path) -> None:
    """The error says which one it is, and how to name it oneself."""
    with pytest.raises(StudyError, match="runs code only from a file that you name") as caught:
        evaluate("quick", EvaluateOptions(out=tmp_path), home)
    assert QUICK in caught.value.evidence[0]
    assert f"--study {QUICK} --name quick" in caught.value.next


def test_the_studys_own_artifacts_are_optunas(home: Settings, tmp_path: Path) -> None:
    """Where the winner has no trial; a second time adds nothing."""
    (tmp_path / "winner.txt").write_text("weights")
    engine = open_for_reading(None, home)
    url = engine.url.render_as_string(hide_password=False)
    with engine.connect() as connection:
        found = queries.find_study(connection, "quick")
    assert found is not None
    counts = [attach([tmp_path / "winner.txt"], None, found.study_id, engine, home) for _ in range(2)]
    engine.dispose()
    assert counts == [1, 0]
    storage = optuna.storages.RDBStorage(url, skip_table_creation=True)
    study = optuna.load_study(study_name="quick", storage=storage)
    metas = optuna.artifacts.get_all_artifact_meta(study)  # the evaluation's winner may be none of the search
    (meta,) = [one for one in metas if one.filename == "winner.txt"]
    storage.engine.dispose()
    with artifact_store(home).open_reader(meta.artifact_id) as file:
        assert file.read() == b"weights"


def test_a_folder_that_cannot_be_written_is_said(home: Settings, tmp_path: Path) -> None:
    """A file where the folder should be gives one clear error, and no run is lost."""
    (tmp_path / "winner").write_text("in the way")
    with pytest.raises(UsageError, match="cannot write the winner"):
        evaluate(QUICK, EvaluateOptions(top=2, seeds=2, known=True, out=tmp_path), home)


def test_a_study_without_a_finished_trial_is_refused(home: Settings, tmp_path: Path) -> None:
    """Nothing to evaluate is an error with the way on, not an empty table."""
    engine = open_for_reading(None, home)
    view = read_study(engine, "quick")
    engine.dispose()
    with pytest.raises(StudyError, match="no finished trial"):
        choose(find_study(QUICK).study, replace(view, trials=()), top=3, known=False)


def test_the_report_shows_the_evaluation(home: Settings, tmp_path: Path) -> None:
    """The verdict, every configuration with its interval, and the winner class by class; report.json holds it whole."""
    engine = open_for_reading(None, home)
    view = read_study(engine, "quick", history=True)
    engine.dispose()
    written = write_report(build_report(view), tmp_path)
    page = unescape(written.page.read_text()).replace("\u00a0", " ")
    document = view.evaluation
    assert document is not None
    assert document["verdict"]["sentence"] in page
    for row in document["configurations"]:
        assert f"<td><b>{row['test_accuracy']['mean']:.4f}</b></td>" in page
    won = next(row for row in document["configurations"] if row["name"] == document["winner"])
    table = page.partition('<table class="numbers confusion">')[2].partition("</table>")[0]
    right = [int(count.replace(",", "")) for count in re.findall(r'<td class="right">([\d,]+)</td>', table)]
    assert right == [won["confusion"][index][index] for index in range(10)]
    assert json.loads((tmp_path / "report.json").read_text())["evaluation"]["winner"] == document["winner"]
    assert as_document({**document, "format": 2}) is None
    wrong = document["mistakes"]
    assert page.count("data:image/webp;base64,") == len(wrong["shown"]) == min(24, wrong["count"]) > 0
    one = wrong["shown"][0]
    assert f"<b>{one['label']}</b>, taken for <b>{one['predicted']}</b>" in page
    before = {key: value for key, value in document.items() if key != "mistakes"}  # as an older hpo left it
    older = write_report(build_report(replace(view, evaluation=as_document(before))), tmp_path / "older")
    assert "taken for" not in older.page.read_text()
    assert document["verdict"]["sentence"] in unescape(older.page.read_text()).replace("\u00a0", " ")
