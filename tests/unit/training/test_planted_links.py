"""Links, pipes and devices that somebody put into a folder which hosts share: read within bounds, never followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hpo.data import source
from hpo.data.files import Folders
from hpo.data.source import SourceFile, read_sources
from hpo.errors import DataError, UsageError
from hpo.evaluation.evaluate import _alone
from hpo.messages import Finished
from hpo.ownership import read_bounded, remove_folder
from hpo.training import checkpoint as checkpoints
from hpo.training.checkpoint import Checkpoints, TrainingSnapshot

SNAPSHOT = TrainingSnapshot({"n": 1}, {"weights": torch.zeros(3)})


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody's, laid out as the checkpoints of a study with one trial."""
    folder = tmp_path / "outside"
    (folder / "3").mkdir(parents=True)
    for name in ("current", "previous", "finished.json"):
        (folder / "3" / name).write_text("kept")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


def link_of_the_study(shared: Path, outside: Path) -> None:
    (shared / "study-uid").symlink_to(outside)


def link_of_the_trial(shared: Path, outside: Path) -> None:
    (shared / "study-uid").mkdir()
    (shared / "study-uid" / "3").symlink_to(outside / "3")


@pytest.mark.parametrize("plant", [link_of_the_study, link_of_the_trial])
def test_nothing_is_written_or_removed_where_a_planted_link_leads(
    plant: Callable[[Path, Path], None], make_job: Any, outside: Path, tmp_path: Path
) -> None:
    shared, before = tmp_path / "shared", contents(outside)
    shared.mkdir()
    plant(shared, outside)
    folder = shared / "study-uid" / "3"
    said: list[str] = []
    kept = Checkpoints(make_job(checkpoint=folder), said.append)
    assert not kept.save(SNAPSHOT)
    kept.finish(Finished(trial_id=0, outcome="complete"), [])
    assert kept.load() is None
    assert kept.finished() is None
    assert len(said) == 1
    assert "is a link" in said[0]
    remove_folder(folder, shared)
    assert contents(outside) == before


def test_a_shared_folder_may_itself_be_a_link(make_job: Any, tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "shared").symlink_to(tmp_path / "large disk")
    folder = tmp_path / "shared" / "study-uid" / "3"
    kept = Checkpoints(make_job(checkpoint=folder), pytest.fail)
    assert kept.save(SNAPSHOT)
    assert kept.load() is not None
    remove_folder(folder, tmp_path / "shared")
    assert not folder.exists()


def test_an_evaluation_works_through_no_link(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "study-uid").symlink_to(outside)
    before = contents(outside)
    with pytest.raises(UsageError, match="is a link"), _alone(tmp_path / "study-uid" / "evaluation", "study"):
        pass
    assert contents(outside) == before


PLANTED: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": os.mkdir,
    "a file without end": lambda path: (path.touch(), os.truncate(path, 1 << 42))[0],
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_no_checkpoint_is_passed_over_at_once(what: str, make_job: Any, tmp_path: Path) -> None:
    folder = tmp_path / "study-uid" / "3"
    folder.mkdir(parents=True)
    for name in ("current", "previous", "finished.json"):
        PLANTED[what](folder / name)
    kept = Checkpoints(make_job(checkpoint=folder), pytest.fail)
    assert kept.load() is None
    assert kept.finished() is None


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_no_data_file_is_an_error_at_once(what: str, tmp_path: Path) -> None:
    PLANTED[what](tmp_path / "images")
    folders = Folders(tmp_path, tmp_path / "cache")
    with pytest.raises(DataError, match="damaged or altered"):
        read_sources("mine", [SourceFile("images", "0" * 32)], folders, lambda _: None)


def test_a_data_file_may_be_a_link_and_is_read_within_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").write_bytes(b"digits")
    (tmp_path / "images").symlink_to(tmp_path / "there")
    file = SourceFile("images", "b8c94ddcf7e66ed3e8e34b3aae3bd24f")
    folders = Folders(tmp_path, tmp_path / "cache")
    monkeypatch.setattr(source, "MOST_BYTES", 5)
    with pytest.raises(DataError, match="larger than 5 bytes"):
        read_sources("mine", [file], folders, lambda _: None)


def test_a_checkpoint_that_no_memory_holds_is_passed_over(
    make_job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(make_job(checkpoint=tmp_path / "study-uid" / "3"), pytest.fail)
    kept.save(SNAPSHOT)
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 100)
    assert kept.load() is None
    with pytest.raises(OSError, match="larger than 100 bytes"):
        read_bounded(tmp_path / "study-uid" / "3" / "current", 100, links=False)
