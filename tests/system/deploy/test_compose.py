"""docker-compose.yml: valid for a compose implementation, and a study from start to end with its very commands."""

from __future__ import annotations

import base64
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, text

from tests.system.deploy.composed import COMPOSE_FILE, ROOT, Composed, Refused, read_compose
from tests.system.deploy.password_server import PASSWORD, PasswordServer, free_port
from tests.system.deploy.recorded import recorded
from tests.system.deploy.tools import needs

SECRETS = {"POSTGRES_PASSWORD_FILE": "./secrets/postgres_password", "DASHBOARD_PASSWORD_FILE": "./secrets/dash"}
TRIALS = 14


def test_every_service_is_as_it_was_promised() -> None:
    """GPUs reserved, nothing published but the dashboard on loopback, no root file system written to."""
    services = read_compose(SECRETS)["services"]
    assert set(services) == {"postgres", "db-init", "worker", "worker-cpu", "dashboard", "report"}
    device = services["worker"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert [name for name, one in services.items() if "ports" in one] == ["dashboard"]
    assert services["dashboard"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "--auth" in services["dashboard"]["command"]
    for name in set(services) - {"postgres"}:
        assert services[name]["read_only"], name
        assert services[name]["cap_drop"] == ["ALL"], name
    for name in ("worker", "worker-cpu", "dashboard", "report"):
        assert services[name]["depends_on"]["db-init"]["condition"] == "service_completed_successfully"


def test_no_password_stands_in_an_environment() -> None:
    """Secrets come as files; a URL or variable with a password in it would be seen by `docker inspect`."""
    for name, service in read_compose(SECRETS)["services"].items():
        for variable, value in service.get("environment", {}).items():
            assert "PASSWORD" not in variable or variable.endswith("_FILE"), f"{name}: {variable}"
            assert not (variable == "HPO_STORAGE" and ":" in value.partition("//")[2].partition("@")[0]), name


@pytest.mark.parametrize("left_out", sorted(SECRETS))
def test_a_start_without_a_password_is_refused_and_says_what_to_do(left_out: str) -> None:
    """Nothing starts, and the message names the file and the way out."""
    with pytest.raises(Refused, match=r"no (database|dashboard) password.*\.env\.example"):
        read_compose({name: path for name, path in SECRETS.items() if name != left_out})


def test_the_example_settings_are_those_that_the_file_reads() -> None:
    """.env.example names no variable that does nothing, and its values are what the file takes by default."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for name in example:
        assert f"${{{name}" in COMPOSE_FILE.read_text(), f"docker-compose.yml never reads {name}"
    assert read_compose(example) == read_compose(
        {**SECRETS, "DASHBOARD_PASSWORD_FILE": example["DASHBOARD_PASSWORD_FILE"]}
    )


@needs("docker-compose", why="its own `config` checks docker-compose.yml")
def test_a_compose_implementation_accepts_the_file_and_reads_it_as_these_tests_do(tmp_path: Path) -> None:
    """`docker-compose config` passes, GPU reservation and completion condition included."""
    environment = {**os.environ, **SECRETS, "STUDY": "mlp_mnist", "TIMEOUT": "3h"}
    done = subprocess.run(
        ["docker-compose", "-f", str(COMPOSE_FILE), "config"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    theirs, ours = yaml.safe_load(done.stdout)["services"], read_compose(environment)["services"]
    assert theirs["worker"]["command"] == ["worker", "--study", "mlp_mnist"]
    assert theirs["worker"]["deploy"] == ours["worker"]["deploy"]
    for name, service in ours.items():
        for key in ("command", "environment", "depends_on", "restart", "profiles"):
            assert theirs[name].get(key) == service.get(key), f"{name}: {key}"


@needs("docker-compose", why="it refuses to start without a password")
def test_the_refusal_is_the_compose_implementation_s_own_message() -> None:
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["docker-compose", "-f", str(COMPOSE_FILE), "config"], env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no database password" in done.stderr


@pytest.fixture
def compose(server: PasswordServer, database: str, tmp_path: Path) -> Iterator[Composed]:
    """The CPU services over the empty database of this test."""
    home, secrets, port = tmp_path / "home", tmp_path / "secrets", free_port()
    for folder in (home, secrets):
        folder.mkdir()
    (secrets / "postgres_password").write_text(f"{PASSWORD}\n")
    (secrets / "dashboard_password").write_text("let-me-in\n")
    settings = {**SECRETS, "STUDY": "tiny:study", "TRIALS": str(TRIALS), "TIMEOUT": "10m", "WORKERS": "1"}
    composed = Composed(
        read_compose(settings)["services"],
        tmp_path,
        translate={
            "/var/lib/hpo": str(home),
            "/tmp/heartbeat": str(tmp_path / "heartbeat"),  # one for all instances here; each container has its own
            "/run/secrets": str(secrets),
            "@postgres:5432/hpo": f"@127.0.0.1:{server.port}/{database.rpartition('/')[2]}",
            "5432": str(server.port),
            "8080": str(port),
        },
    )
    # The server plays the container `postgres`; its health check runs as it stands, with the wheel's pg_isready.
    os.environ["PATH"] = f"{server.programs}{os.pathsep}{os.environ['PATH']}"
    yield composed
    composed.down()


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_three_workers_finish_a_study_through_a_stop_and_a_kill_and_nothing_is_lost(
    compose: Composed, database: str
) -> None:
    """up, --scale 3, stop, up again, a worker killed: exactly the trials asked for, each epoch once, no lease left."""
    compose.start("worker-cpu")  # which brings db-init, which waits for postgres
    assert compose.of("db-init")[0].process.returncode == 0
    compose.start("worker-cpu")
    compose.start("worker-cpu")
    _until(lambda: recorded(database).finished >= 2 and _at_work(database) == 3, compose)

    assert compose.healthy("worker-cpu")
    first = compose.of("worker-cpu")
    assert compose.stop(*first) == [143, 143, 143], "not stopped within the grace period"
    stopped = recorded(database)
    stopped.check_nothing_lost()
    assert 2 <= stopped.finished < TRIALS

    deadline = _deadline(database)
    compose.start("db-init").process.wait(150)  # `docker compose up` runs it again
    assert _deadline(database) == deadline, "starting again put the deadline off"
    second = [compose.start("worker-cpu") for _ in range(3)]
    _until(lambda: recorded(database).finished > stopped.finished, compose)
    second[0].process.kill()
    second[0].process.wait()
    _until(lambda: all(one.process.poll() == 0 for one in second), compose)

    end = recorded(database)
    end.check_nothing_lost()
    assert end.finished == len(end.states) == TRIALS
    assert all(end.states[number] == state for number, state in stopped.states.items() if state == "COMPLETE")
    assert second[0].restarts == 1, "the killed worker came back once"
    assert [one.restarts for one in second[1:]] == [0, 0], "a finished study must not start its workers again"
    assert len(end.workers) >= 3

    report = compose.start("report")
    assert report.process.wait(120) == 0, report.log.read_text()
    assert list((compose.folder / "home" / "reports").rglob("*.html"))


@pytest.mark.slow
def test_the_dashboard_asks_for_the_password_of_its_secret_file(compose: Composed) -> None:
    """Healthy by its own check, closed to strangers, gone within the default grace period."""
    one = compose.start("dashboard")
    _until(lambda: compose.healthy("dashboard"), compose)
    url = f"http://127.0.0.1:{compose.translate['8080']}/api/studies"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url)
    login = base64.b64encode(b"hpo:let-me-in").decode()
    asked = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(asked) as answer:
        assert b"tiny" in answer.read()
    assert compose.stop(one) == [143]


def _until(condition: Callable[[], bool], compose: Composed, seconds: float = 300.0) -> None:
    """Wait for `condition`, doing meanwhile what the engine would do: restart what failed."""
    until = time.monotonic() + seconds
    while not condition():
        compose.restart_failed()
        logs = "\n".join(one.log.read_text()[-2000:] for one in compose.running)
        assert time.monotonic() < until, f"nothing came of it in {seconds:.0f} s\n{logs}"
        time.sleep(0.2)


def _at_work(url: str) -> int:
    return _scalar(url, "SELECT count(DISTINCT worker_id) FROM hpo_leases WHERE worker_id IS NOT NULL")


def _deadline(url: str) -> Any:
    return _scalar(url, "SELECT deadline FROM hpo_studies")


def _scalar(url: str, statement: str) -> Any:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement)).scalar_one()
    finally:
        engine.dispose()
