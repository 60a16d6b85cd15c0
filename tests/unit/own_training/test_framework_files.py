"""The checkpoints that a framework writes, without the framework: which are kept, and which are trusted."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from run_coordinator import Coordinator

from hpo.integrations.files import FrameworkFiles
from hpo.own_training.run import Run


def written(folder: Path, number: int) -> Path:
    """As Hugging Face's Trainer does: a folder of files."""
    path = folder / f"checkpoint-{number}"
    (path / "rng").mkdir(parents=True)
    (path / "model").write_text(f"weights {number}")
    (path / "rng" / "0").write_text("random")
    return path


@pytest.fixture
def files(tmp_path: Path) -> FrameworkFiles:
    return FrameworkFiles(tmp_path)


def names(files: FrameworkFiles) -> list[str]:
    return sorted(path.name for path in files.folder.iterdir())


def test_the_newest_and_the_one_before_are_kept(files: FrameworkFiles) -> None:
    """hpo's own checkpoint before the newest still names that one."""
    (files.folder / "note-1").touch()
    for number in (8, 9, 10):
        files.written(written(files.folder, number))
    assert names(files) == ["checkpoint-10", "checkpoint-9", "note-1"]
    files.written(written(files.folder, 11), keep_others=True)
    assert names(files) == ["checkpoint-10", "checkpoint-11", "checkpoint-9", "note-1"]
    for number in (1, 2, 3):
        (path := files.folder / f"last-{number}.ckpt").touch()
        files.written(path)
    assert names(files)[-3:] == ["last-2.ckpt", "last-3.ckpt", "note-1"]


def test_a_link_is_left_alone(files: FrameworkFiles, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = written(tmp_path_factory.mktemp("outside"), 1)
    (files.folder / "checkpoint-1").symlink_to(outside)
    for number in (2, 3, 4):
        files.written(written(files.folder, number))
    assert (outside / "model").exists()
    assert "checkpoint-1" in names(files)


def test_what_was_written_is_found_again_by_its_name(files: FrameworkFiles) -> None:
    assert files.state_dict() == {"name": None}
    files.written(written(files.folder, 3))
    state = files.state_dict()
    other = FrameworkFiles(files.folder)
    other.load_state_dict({"name": None})
    assert other.newest is None
    other.load_state_dict(state)
    assert other.newest == files.folder / "checkpoint-3"


@pytest.mark.parametrize("harm", ["gone", "torn", "renamed", "one more", "linked", "linked within"])
def test_what_is_not_as_it_was_written_is_not_gone_on_from(
    files: FrameworkFiles, tmp_path_factory: pytest.TempPathFactory, harm: str
) -> None:
    path = written(files.folder, 3)
    files.written(path)
    state = files.state_dict()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "checkpoint-3"
    shutil.copytree(path, elsewhere)
    if harm in ("gone", "linked"):
        shutil.rmtree(path)
    if harm == "torn":
        (path / "model").write_text("weig")
    if harm == "renamed":
        (path / "model").rename(path / "other")
    if harm == "one more":
        (path / "other").touch()
    if harm == "linked":
        path.symlink_to(elsewhere)
    if harm == "linked within":
        (path / "model").unlink()
        (path / "model").symlink_to(elsewhere / "model")
    other = FrameworkFiles(files.folder)
    wanted = {"gone": "is gone", "linked": "is gone", "linked within": "is a link"}.get(harm, "is torn, or was altered")
    with pytest.raises((ValueError, OSError), match=wanted):
        other.load_state_dict(state)
    assert other.newest is None


def test_a_name_that_leads_out_of_the_folder_stays_in_it(
    files: FrameworkFiles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = FrameworkFiles(tmp_path_factory.mktemp("outside"))
    outside.written(written(outside.folder, 3))
    state = {**outside.state_dict(), "name": str(outside.newest)}
    with pytest.raises(ValueError, match="checkpoint-3 is gone"):
        files.load_state_dict(state)


def test_a_checkpoint_with_a_link_or_a_pipe_in_it_costs_no_result(job: Any) -> None:
    """hpo keeps its last one, and says why."""

    def links(run: Run) -> None:
        files = FrameworkFiles(run.checkpoint_dir)
        run.resume(files=files)
        for epoch in run.epochs():
            files.written(written(run.checkpoint_dir, epoch))
            assert files.newest is not None
            (files.newest / "latest").symlink_to(files.newest / "model")
            os.mkfifo(files.newest / "pipe")
            run.report(f1=epoch)
            run._save()

    coordinator = Coordinator()
    finished = coordinator.train(job(links))
    assert (finished.outcome, finished.reason) == ("complete", "")
    assert len(coordinator.warnings) == 1
    assert "latest is a link or no plain file" in coordinator.warnings[0]


@pytest.mark.parametrize("package", ["lightning", "transformers"])
def test_a_framework_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    class Missing:
        def find_spec(self, name: str, *_: Any) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    loaded_with_it = (package, f"hpo.integrations.{package}", "pytorch_lightning")
    for loaded in [name for name in sys.modules if name.startswith(loaded_with_it)]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=f"hpo.integrations.{package} needs .*: pip install '?{package}"):
        importlib.import_module(f"hpo.integrations.{package}")
