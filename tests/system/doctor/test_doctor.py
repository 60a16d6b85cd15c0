"""Each thing that can be wrong is made wrong, and `hpo doctor` names it; the rest is looked at all the same."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from sqlalchemy import Engine, text

from hpo.cli.main import run_command
from hpo.doctor import Finding, checkup
from hpo.doctor.database import examine_database
from hpo.doctor.devices import examine_data, examine_devices
from hpo.doctor.machine import examine_checkpoints, examine_disk, examine_environment, examine_versions
from hpo.doctor.stale_trials import examine_trials
from hpo.search.identity import own_identity
from hpo.settings import Settings
from hpo.storage import queries

NOWHERE = "postgresql://ann:s3cret@127.0.0.1:1/x"


def by_check(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.fixture
def study(engine: Engine) -> int:
    """A registered study with two trials of a worker that is alive by its lease."""
    with engine.begin() as connection:
        study_id = queries.create_study(connection, "digits", (StudyDirection.MAXIMIZE,))
        queries.register(
            connection, study_id, fingerprint="f", declaration={}, source="x.py", seed=0, facts={"uid": "abc123"}
        )
        gone = own_identity().as_json() | {"boot_id": "elsewhere", "host": "elsewhere"}
        queries.register_worker(connection, "w", study_id, host="elsewhere", identity=gone, slots=[])
        queries.claim(connection, study_id, "w", "elsewhere", 60.0, 2)
    return study_id


def states(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT CAST(state AS text) FROM trials ORDER BY trial_id")).scalars())


def run_out(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE hpo_leases SET expires_at = now() - interval '90 s'"))


def test_a_database_in_order_is_found_in_order(engine: Engine) -> None:
    found = by_check(examine_database(engine))
    assert {name: finding.level for name, finding in found.items()} == dict.fromkeys(
        ["database", "schema", "connections", "clock"], "ok"
    )
    assert "PostgreSQL 1" in found["database"].fact


def test_missing_and_foreign_tables(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE hpo_leases"))
    assert by_check(examine_database(engine))["schema"].level == "warn"
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9.9.9'"))
    found = by_check(examine_database(engine))["schema"]
    assert found.level == "fail"
    assert "v9.9.9" in found.fact


def test_a_server_with_no_connection_to_spare(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo.doctor.database.FULL", 0.001)
    found = by_check(examine_database(engine))["connections"]
    assert found.level == "fail"
    assert "max_connections" in found.next


@pytest.mark.parametrize(("seconds", "way"), [(3600.0, "ahead of"), (-3600.0, "behind")])
def test_a_clock_that_is_off(engine: Engine, monkeypatch: pytest.MonkeyPatch, seconds: float, way: str) -> None:
    import time

    now = time.time
    monkeypatch.setattr("hpo.doctor.database.time.time", lambda: now() + seconds)
    found = by_check(examine_database(engine))["clock"]
    assert found.level == "warn"
    said = re.search(rf"([0-9.]+) s {way}", found.fact)
    assert said
    assert float(said[1]) == pytest.approx(3600.0, abs=5.0)


def test_a_trial_that_somebody_works_on_is_left_alone(engine: Engine, study: int) -> None:
    found = by_check(examine_trials(engine, fix=True))
    assert found["trials"].fact == "none is stale"
    assert states(engine) == ["RUNNING", "RUNNING"]


def test_stale_trials_are_named_and_put_back_on_request(engine: Engine, study: int) -> None:
    run_out(engine)
    found = by_check(examine_trials(engine, fix=False))["trials"]
    assert (found.level, found.fact[:7]) == ("warn", "2 stale")
    said = re.search(r"trial 0 of digits  silent for (\d+) s, last on elsewhere", found.details[0])
    assert said
    assert 90 <= int(said[1]) < 95
    assert "so does the next `hpo run`" in found.next
    assert states(engine) == ["RUNNING", "RUNNING"]
    assert "2 stale trials put back" in by_check(examine_trials(engine, fix=True))["trials"].fact
    assert states(engine) == ["WAITING", "WAITING"]
    assert by_check(examine_trials(engine, fix=False))["trials"].fact == "none is stale"


@pytest.mark.parametrize(("attempt", "state"), [(9, "WAITING"), (10, "FAIL")])
def test_a_trial_whose_hosts_are_used_up_is_told_as_failed(
    engine: Engine, study: int, attempt: int, state: str
) -> None:
    """After as many as a reaper allows, no fewer."""
    run_out(engine)
    with engine.begin() as connection:
        first = "(SELECT min(trial_id) FROM trials)"
        connection.execute(text(f"UPDATE hpo_leases SET attempt = {attempt} WHERE trial_id = {first}"))
    assert ("1 of them failed" in by_check(examine_trials(engine, fix=True))["trials"].fact) == (state == "FAIL")
    assert states(engine) == [state, "WAITING"]


def test_a_running_trial_without_any_lease_is_stale_too(engine: Engine, study: int) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE hpo_leases SET worker_id = NULL, expires_at = NULL"))
    found = by_check(examine_trials(engine, fix=False))["trials"]
    assert found.level == "warn"
    assert "`hpo run` leaves those without a lease alone" in found.next
    list(examine_trials(engine, fix=True))
    assert states(engine) == ["WAITING", "WAITING"]


def test_trials_of_a_process_that_died_here_need_no_patience(engine: Engine, study: int) -> None:
    """Its lease has a minute to run, but its process is gone from this very machine."""
    dead = own_identity().as_json() | {"pid": 2**22 + 1}
    with engine.begin() as connection:
        connection.execute(text("UPDATE hpo_workers SET identity = :identity"), {"identity": json.dumps(dead)})
    assert "2 stale trials put back" in by_check(examine_trials(engine, fix=True))["trials"].fact
    assert states(engine) == ["WAITING", "WAITING"]


def test_trials_of_plain_optuna_are_nobodys_business(engine: Engine) -> None:
    plain = optuna.create_study(storage=engine.url.render_as_string(hide_password=False), study_name="plain")
    plain.ask()
    assert by_check(examine_trials(engine, fix=True))["trials"].fact == "none is stale"
    assert states(engine) == ["RUNNING"]


def test_leases_left_on_finished_trials_are_freed_on_request(engine: Engine, study: int) -> None:
    run_out(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE trials SET state = 'FAIL'"))
    assert by_check(examine_trials(engine, fix=False))["leases"].level == "warn"
    assert "2 leftover leases freed" in by_check(examine_trials(engine, fix=True))["leases"].fact
    assert by_check(examine_trials(engine, fix=False))["leases"].level == "ok"


def test_the_rest_is_looked_at_when_the_database_is_away(settings: Settings) -> None:
    settings.home.mkdir()
    found = by_check(checkup(settings, storage=NOWHERE, devices="cuda:99", fix=True))
    assert found["database"].level == "fail"
    assert {"disk", "checkpoints", "environment", "versions", "device", "data"} <= set(found)
    assert "s3cret" not in repr(found)
    assert any("list of processes" in line for line in found["environment"].details)


def test_nothing_is_made_where_nothing_ever_ran(settings: Settings) -> None:
    found = by_check(checkup(settings, storage=None, devices="cuda:99", fix=True))
    assert found["database"].level == "ok"
    assert not settings.home.exists()


def test_a_full_disk_and_a_folder_that_cannot_be_written(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(settings.home.parent)
    for free, level in ((usage.free, "ok"), (1 << 30, "warn"), (1 << 20, "fail")):
        monkeypatch.setattr("shutil.disk_usage", lambda _place, free=free: usage._replace(free=free))
        if level != "ok":
            assert by_check(examine_disk(settings))["disk"].level == level
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "cannot be written" in by_check(examine_disk(settings))["disk"].fact


def test_checkpoints_of_no_study_are_named_and_kept(settings: Settings) -> None:
    for name in ("digits-abc123", "old-one-def456"):
        (settings.checkpoint_dir / name / "0").mkdir(parents=True)
        (settings.checkpoint_dir / name / "0" / "current").write_bytes(b"x" * 2000)
    found = examine_checkpoints(settings, {"abc123"})
    assert found.level == "warn"
    assert found.details == ("old-one-def456  2.0 kB",)
    assert (settings.checkpoint_dir / "old-one-def456").is_dir()
    assert examine_checkpoints(settings, {"abc123", "def456"}).level == "ok"
    assert examine_checkpoints(settings, None).level == "ok"
    assert examine_checkpoints(replace(settings, checkpoint_dir=settings.home / "no"), set()).level == "ok"


def test_variables_that_undo_what_trainers_are_given() -> None:
    assert examine_environment({"OMP_NUM_THREADS": "8"}, None).level == "ok"  # trainers set it themselves
    found = examine_environment({"MKL_DOMAIN_NUM_THREADS": "MKL_BLAS=8", "CUDA_LAUNCH_BLOCKING": "1"}, None)
    assert found.level == "warn"
    assert len(found.details) == 2


@pytest.mark.parametrize(
    ("name", "refused", "taken"),
    [
        ("HPO_TRAINERS", ["zero", "0", "-1", "1.5", "99999"], ["1", "8"]),
        ("HPO_TRAINERS_PER_GPU", ["0", "all", "65"], ["2", "auto"]),
        ("HPO_DEVICES_PER_TRIAL", ["0", "two", "9999"], ["2"]),
        ("HPO_TRIALS", ["none", "0"], ["100"]),
        ("HPO_TIMEOUT", ["soon", "0s", "3x"], ["3h", "90"]),
    ],
)
def test_a_variable_that_a_run_refuses_is_broken(name: str, refused: list[str], taken: list[str]) -> None:
    for value in refused:
        found = examine_environment({name: value}, None)
        assert (found.level, found.next) == ("fail", f"correct or unset {name}"), value
        assert value in found.details[0]
    for value in ["", *taken]:
        assert examine_environment({name: value}, None).level == "ok", value


def test_versions_that_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert examine_versions().level == "ok"
    packages = {"python": "3.12", "optuna": "4.9.0", "torch": "2.9.0", "torchvision": "0.29"}
    monkeypatch.setattr("hpo.doctor.machine.code_facts", lambda: {"packages": packages})
    monkeypatch.setattr("hpo.doctor.machine.requires", lambda _name: ["numpy", "torch==2.15.0"])
    found = examine_versions()
    assert found.level == "fail"
    assert [line.split(":")[0].split(" was")[0] for line in found.details] == ["optuna 4.9.0", "torchvision 0.29"]


def test_a_device_computes_or_is_named() -> None:
    found = by_check(examine_devices("cpu"))["device"]
    assert found.level == "ok"
    assert found.fact.startswith("cpu computes: ")
    assert by_check(examine_devices("tpu"))["device"].level == "fail"


def test_a_trainer_that_dies_before_it_is_ready_is_a_broken_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(
        "hpo.doctor.devices.TrainerProcess",
        lambda device, environ: _trainer(device, environ, (sys.executable, "-c", "raise SystemExit(5)")),
    )
    found = by_check(examine_devices("cpu"))["device"]
    assert found.level == "fail"
    assert "exit code 5" in found.fact


def _trainer(device: str, environ: Any, command: tuple[str, ...]) -> Any:
    from hpo.trainers.process import TrainerProcess

    return TrainerProcess(device, command=command, environ=environ)


def test_altered_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"not what was published")
    monkeypatch.setenv("HPO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    found = {finding.fact.split(":")[0]: finding for finding in examine_data(tmp_path)}
    assert found["mnist"].level == "fail"
    assert found["mnist"].details == (str(raw / "train-images-idx3-ubyte.gz"),)
    assert found["cifar10"].level == "ok"


def test_a_data_folder_that_is_not_there_is_warned_of(tmp_path: Path) -> None:
    first = next(iter(examine_data(tmp_path / "nowhere")))
    assert (first.level, "nowhere is not a folder" in first.fact) == ("warn", True)
    assert all(finding.level != "warn" for finding in examine_data(tmp_path))


def test_the_command_says_it_in_words_in_json_and_by_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    findings: list[Finding] = [Finding("disk", "warn", "little [room]", ("1 GB",), "make room")]
    monkeypatch.setattr("hpo.doctor.checkup", _always(findings))
    assert run_command(["doctor"]) == 0
    assert "all in order, 1 to look at" in capsys.readouterr().out
    findings.append(Finding("device", "fail", "cuda:0 computes wrong products"))
    assert run_command(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "little [room]" in out
    assert "next: make room" in out
    assert "1 broken, 1 to look at" in out
    assert run_command(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [one["level"] for one in document["findings"]] == ["warn", "fail"]


def _always(findings: list[Finding]) -> Callable[..., Iterator[Finding]]:
    return lambda *_args, **_options: iter(findings)


def test_a_journal_of_a_study_that_is_gone_is_told_and_put_aside_when_asked_to(
    database_url: str, study: int, settings: Settings
) -> None:
    """Nothing will ever take it, so `hpo run` is no advice; a journal of a study that is here waits."""
    folder = settings.home / "journal"
    folder.mkdir(parents=True)
    for uid in ("abc123", "gone99"):
        (folder / f"{uid}-0.jsonl").touch()

    def journal(*, fix: bool) -> list[Finding]:
        found = []
        for finding in checkup(settings, storage=database_url, devices="cpu", fix=fix):
            if finding.check == "disk":
                return found
            found += [finding] if finding.check == "journal" else []
        raise AssertionError("the checks end without the disk")

    lost, waiting = journal(fix=False)
    assert (lost.details, waiting.details) == (("gone99-0.jsonl",), ("abc123-0.jsonl",))
    assert "--fix" in lost.next
    assert "hpo run" in waiting.next
    journal(fix=True)
    assert {path.name for path in folder.iterdir()} == {"abc123-0.jsonl", "gone99-0.orphan"}
    assert [finding.details for finding in journal(fix=False)] == [("abc123-0.jsonl",)]
