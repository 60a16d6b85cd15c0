"""`hpo run --ray` on a real Ray cluster of two nodes on this machine, one of which is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.system.deploy.password_server import PasswordServer
from tests.system.deploy.recorded import recorded
from tests.system.deploy.tools import needs
from tests.system.faults.proxy import Proxy

pytestmark = [
    needs(package="ray", why="the test starts a cluster"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, at start and at exit
]

ROOT = Path(__file__).resolve().parents[3]
TRIALS = 8


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A head and a second node, one CPU each, that find hpo and the study of these tests."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'system' / 'deploy'}")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's 15 leaves a node nothing of a busy machine
    memory = 100 * 1024 * 1024
    small = {"num_cpus": 1, "object_store_memory": memory}
    running = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    running.second = running.add_node(**small)  # type: ignore[attr-defined]
    yield running
    running.shutdown()


def start(address: str, url: str, home: Path, *more: str) -> subprocess.Popen[str]:
    command = ["run", "--study", "tiny:study", "--ray", address, "--device", "cpu", "--storage", url, *more]
    environment = {**os.environ, "HPO_HOME": str(home), "HPO_LEASE_SECONDS": "12"}
    return subprocess.Popen(
        [sys.executable, "-m", "hpo", *command],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_node_is_killed_and_the_study_finishes_with_exactly_the_trials_asked_for(
    cluster: Any, database: str, tmp_path: Path
) -> None:
    """Both nodes trained, the killed one's trial was resumed elsewhere, nothing is lost."""
    driver = start(cluster.address, database, tmp_path, "--trials", str(TRIALS))
    _until(lambda: len(_training_hosts(database)) == 2 and recorded(database).finished >= 1, driver)
    cluster.remove_node(cluster.second, allow_graceful=False)
    out, err = driver.communicate(timeout=400)
    assert driver.returncode == 0, err
    end = recorded(database)
    end.check_nothing_lost()
    assert end.finished == len(end.states) == TRIALS
    assert f"{TRIALS} complete" in out
    assert _max_attempt(database) >= 2, "the killed node was not at work"


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_database_that_is_away_for_a_while_ends_neither_the_driver_nor_a_node(
    cluster: Any, server: PasswordServer, database: str, tmp_path: Path
) -> None:
    """The driver shows what it last saw; the nodes keep what they have to write. Every trial is there in the end."""
    proxy = Proxy(server.port)
    url = make_url(database).set(port=proxy.port).render_as_string(hide_password=False)
    driver = start(cluster.address, url, tmp_path, "--trials", "6")
    _until(lambda: len(_training_hosts(database)) == 2, driver)
    proxy.refusing = True
    assert proxy.cut() >= 3, "driver and nodes"
    _until(lambda: proxy.refused >= 12, driver)  # driver and nodes have each tried more than once
    proxy.refusing = False
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    recorded(database).check_nothing_lost()
    assert "6 complete" in out
    proxy.close()


@pytest.mark.timeout(900)
def test_sigterm_to_the_driver_puts_every_node_s_trials_down(cluster: Any, database: str, tmp_path: Path) -> None:
    """Exit 143 and no lease left: the same command goes on later."""
    driver = start(cluster.address, database, tmp_path, "--timeout", "10m")
    _until(lambda: len(_training_hosts(database)) == 2, driver)
    driver.terminate()
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 143, err
    recorded(database).check_nothing_lost()


def test_the_database_that_comes_with_hpo_is_refused_for_a_cluster(tmp_path: Path) -> None:
    """Its socket is on one machine: the message says what to give instead."""
    done = subprocess.run(
        [sys.executable, "-m", "hpo", "run", "--study", "tiny:study", "--ray", "127.0.0.1:1"],
        env={
            **os.environ,
            "HPO_HOME": str(tmp_path),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'system' / 'deploy'}",
        },
        text=True,
        capture_output=True,
    )
    assert done.returncode == 4, done.stderr
    assert "--storage postgresql://" in done.stderr


def _until(condition: Callable[[], bool], driver: subprocess.Popen[str], seconds: float = 400.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.2)


def _training_hosts(url: str) -> list[str]:
    """Workers that hold a lease."""
    return _rows(url, "SELECT DISTINCT worker_id FROM hpo_leases WHERE worker_id IS NOT NULL")


def _max_attempt(url: str) -> int:
    return int(_rows(url, "SELECT max(attempt) FROM hpo_leases")[0])


def _rows(url: str, statement: str) -> list[Any]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return [row[0] for row in connection.execute(sqlalchemy.text(statement))]
    except sqlalchemy.exc.ProgrammingError:
        return []
    finally:
        engine.dispose()
