"""Callbacks, notifications and trackers of a real run: what they are told, and that none of them can harm it."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

import hpo
from hpo.errors import UsageError

REQUIRED = os.environ.get("HPO_REQUIRE_TRACKERS") == "1"  # read here: the tests themselves see no HPO_ variable
SCRIPT = """
class TrialPruned(Exception): ...

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    trial.report(x, 0)
    trial.report(x, 1)
    trial._link.report(1, {"loss": 0.25})
    if trial.number == 1:
        raise TrialPruned
    if trial.number == 2:
        raise ValueError("by the user")
    return x + trial.number
"""


def needs(package: str) -> pytest.MarkDecorator:
    """Skip where the package is missing; run (and fail) where all are required."""
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing and not REQUIRED, reason=f"pip install {package}")


@pytest.fixture
def run(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., hpo.Result]:
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(SCRIPT)

    def started(**options: Any) -> hpo.Result:
        return hpo.run(f"{tmp_path / 'own.py'}:objective", direction="maximize", trials=4, trainers=1, **options)

    return started


def test_callbacks_hear_of_every_trial_every_best_and_the_end(run: Callable[..., hpo.Result]) -> None:
    ended, best, results = list[Any](), list[Any](), list[Any]()
    result = run(
        on_trial_end=lambda study, trial: ended.append((trial.number, trial.state.name, study.counts["complete"] > 0)),
        on_new_best=lambda study, trial: best.append((trial.number, study.best.number >= trial.number)),
        on_end=results.append,
    )
    assert ended == [(0, "COMPLETE", True), (1, "PRUNED", True), (2, "FAIL", True), (3, "COMPLETE", True)]
    assert best == [(0, True), (3, True)]
    assert results == [result]


def test_a_callback_that_fails_or_hangs_harms_no_trial(run: Callable[..., hpo.Result]) -> None:
    """The first one waits for the last trial to end: it would wait for ever if the run waited for it."""
    over, said, bests = threading.Event(), list[str](), list[int]()

    def notice(sentence: str) -> None:
        said.append(sentence)
        if sentence.startswith("trial 3 complete"):
            over.set()

    def hangs(study: Any, trial: Any) -> None:
        assert over.wait(60)
        raise KeyError("in the callback")

    result = run(on_trial_end=hangs, on_new_best=lambda _, trial: bests.append(trial.number), on_notice=notice)
    assert result.counts["complete"] == 2
    assert bests == [0, 3]
    told = [sentence for sentence in said if "callback" in sentence]
    assert len(told) == 1
    assert told[0].startswith("on_trial_end failed: KeyError: 'in the callback' (")
    assert "test_callbacks.py, line" in told[0]


def test_a_study_declares_callbacks_and_they_are_no_part_of_what_is_compared() -> None:
    def told(*_: Any) -> None: ...

    objective = hpo.Objective("own:objective", direction="maximize")
    plain, calling = (hpo.Study(name="s", objective=objective, on_end=one) for one in (None, told))
    assert calling.on_end is told
    assert plain.fingerprint() == calling.fingerprint()
    with pytest.raises(hpo.HpoError, match="on_end='x' is not a function"):
        hpo.Study(name="s", objective=objective, on_end="x")  # type: ignore[arg-type]


@pytest.fixture
def service() -> Iterator[tuple[int, list[Any]]]:
    """A web hook that keeps what it gets."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, received
    server.shutdown()
    server.server_close()


@needs("apprise")
@pytest.mark.filterwarnings("ignore")
def test_a_message_is_sent_when_the_run_has_ended(
    run: Callable[..., hpo.Result], service: tuple[int, list[Any]], tmp_path: Path
) -> None:
    port, received = service
    run(notify=f"json://127.0.0.1:{port}/hook")
    assert [one["title"] for one in received] == ["hpo: own ended (trials)"]
    assert received[0]["message"].startswith("2 complete, 1 pruned, 1 failed\nbest 3.")
    with pytest.raises(UsageError):
        run(notify=f"json://127.0.0.1:{port}/hook", devices="warp")
    assert [one["title"] for one in received][1:] == ["hpo: own ended by an error"]


@needs("apprise")
@pytest.mark.filterwarnings("ignore")
def test_a_dead_address_harms_nothing_and_is_written_nowhere(
    run: Callable[..., hpo.Result], engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    result = run(notify=["json://me:s3cr3t@127.0.0.1:9/token4711"], on_notice=said.append)
    assert result.counts["complete"] == 2
    assert [sentence for sentence in said if "notify" in sentence] == ["--notify: the message could not be delivered"]
    with pytest.raises(UsageError, match="apprise knows no service") as refused:
        run(notify="nothing://me:s3cr3t@127.0.0.1/token4711")
    everything = [str(refused.value), *said, *capfd.readouterr()]
    everything += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            everything += [str(row) for row in connection.execute(text(f"SELECT * FROM {table}"))]
    assert not [one for one in everything if "s3cr3t" in one or "token4711" in one]


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # MLflow and its libraries, of each other
def test_mlflow_has_a_run_for_each_trial(
    run: Callable[..., hpo.Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'tracked.db'}")
    result = run(tracker="mlflow", metric="[b]score", name="tracked")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'tracked.db'}")
    experiment = client.get_experiment_by_name("tracked")
    runs = {int(one.data.tags["hpo.trial"]): one for one in client.search_runs([experiment.experiment_id])}
    assert {number: one.info.status for number, one in runs.items()} == {
        0: "FINISHED", 1: "KILLED", 2: "FAILED", 3: "FINISHED",
    }  # fmt: skip
    for trial in result.frozen:
        one = runs[trial.number]
        assert {name: float(value) for name, value in one.data.params.items()} == pytest.approx(trial.params)
        history = client.get_metric_history(one.info.run_id, "_b_score")
        assert {each.step: each.value for each in history} == pytest.approx(trial.intermediate_values)
        assert len(history) == 2
        assert [each.value for each in client.get_metric_history(one.info.run_id, "loss")] == [0.25]
    assert runs[3].data.metrics["objective/_b_score"] == pytest.approx(result.frozen[3].values[0])


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # MLflow and its libraries, of each other
def test_a_tracker_that_is_down_is_said_once(run: Callable[..., hpo.Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cr3t@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said: list[str] = []
    assert run(tracker="mlflow", on_notice=said.append).counts["complete"] == 2
    told = [sentence for sentence in said if "MLflow" in sentence]
    assert told == ["MLflow does not answer (MlflowException): tried again every 60 s; the run goes on"]


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_has_a_run_for_each_trial(
    run: Callable[..., hpo.Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: its own files, which `wandb sync` sends, hold what each run was told."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "w"))
    (tmp_path / "w").mkdir()
    said: list[str] = []
    result = run(tracker="wandb", name="tracked", on_notice=said.append)
    assert not [sentence for sentence in said if "W&B" in sentence]
    paths = {path.stem.rpartition("-")[2]: path for path in (tmp_path / "w").rglob("run-*.wandb")}
    assert sorted(paths) == ["0", "1", "2", "3"]
    for trial in result.frozen:
        limit = time.monotonic() + 30  # a process of W&B's own writes it, and may be a moment behind
        state = {0: b"complete", 1: b"pruned", 2: b"failed", 3: b"complete"}[trial.number]
        while state not in paths[str(trial.number)].read_bytes() and time.monotonic() < limit:
            time.sleep(0.05)
        content = paths[str(trial.number)].read_bytes()
        assert state in content
        assert str(trial.params["x"]).encode() in content


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_without_a_key_asks_nobody(
    run: Callable[..., hpo.Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    said: list[str] = []
    assert run(tracker="wandb", on_notice=said.append).counts["complete"] == 2
    told = [sentence for sentence in said if "W&B" in sentence]
    assert told == ["W&B has no API key: `wandb login`, or WANDB_MODE=offline; the run goes on without it"]


def test_an_unknown_tracker_is_refused_before_anything(run: Callable[..., hpo.Result]) -> None:
    with pytest.raises(UsageError, match='--tracker "mlflo"') as caught:
        run(tracker="mlflo")
    assert "mlflow" in "".join(caught.value.evidence)
