"""A machine keeps what was made for it in one place, whatever the home folder, and takes nothing of another account."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hpo.training.kernels import machine_cache, native, own_choice

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: only root can give files away")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's cache; what is compiled is an empty file."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "empty.c").touch()
    monkeypatch.setattr(native, "FOLDER", sources)
    monkeypatch.setattr(native, "SOURCES", {"empty": ("empty.c",)})
    monkeypatch.setattr(native, "_home", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user" / "cache"))
    (tmp_path / "user").mkdir()
    return tmp_path / "user" / "cache"


def compiled(home: Path, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL | None:
    monkeypatch.setenv("HPO_HOME", str(home))
    return native.library.__wrapped__("empty")


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is compiled from now on."""
    made: list[Path] = []
    real: Callable[[Sequence[str], Path], None] = native._compile

    def count(sources: Sequence[str], path: Path) -> None:
        made.append(path)
        real(sources, path)

    monkeypatch.setattr(native, "_compile", count)
    return made


@pytest.mark.kernels
def test_home_folders_share_what_was_compiled(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler is called once per machine; with other options it is called again."""
    made = counting(monkeypatch)
    first, second = (compiled(tmp_path / home, monkeypatch) for home in ("one", "other"))
    assert first is not None
    assert second is not None
    assert [path.parent for path in made] == [cache / "hpo" / "kernels"]
    assert first._name == second._name == str(made[0])
    assert not (tmp_path / "one").exists()
    monkeypatch.setattr(native, "FLAGS", ("-O1", *native.FLAGS[1:]))
    assert compiled(tmp_path / "one", monkeypatch) is not None
    assert len({path.name for path in made}) == 2


@pytest.mark.kernels
def test_without_a_cache_of_the_user_the_home_folder_keeps_them(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where neither can be written, they are compiled for this process."""
    made = counting(monkeypatch)
    cache.touch()  # a file where the folder should be
    (tmp_path / "home").mkdir()
    assert compiled(tmp_path / "home", monkeypatch) is not None
    assert compiled(tmp_path / "home", monkeypatch) is not None
    assert [path.parent for path in made] == [tmp_path / "home" / "cache" / "kernels"]
    (tmp_path / "file").touch()
    assert compiled(tmp_path / "file", monkeypatch) is not None
    assert not made[1].exists()


@as_root
@pytest.mark.kernels
def test_a_library_that_somebody_else_compiled_is_not_loaded(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns it, its folder or one above could replace it. Another place is taken instead."""
    home = tmp_path / "home"
    home.mkdir()
    made = compiled(home, monkeypatch)
    assert made is not None
    file = Path(made._name)
    for each in (file, file.parent, cache, cache.parent):
        os.chown(each, NOBODY, NOBODY)
        other = compiled(home, monkeypatch)
        assert other is not None
        assert Path(other._name).parent == home / "cache" / "kernels"
        os.chown(each, 0, 0)
    file.unlink()
    os.chown(home / "cache", NOBODY, NOBODY)
    os.chown(cache, NOBODY, NOBODY)
    last = compiled(home, monkeypatch)
    assert last is not None
    assert not Path(last._name).exists()  # nowhere is safe: for this process alone


def test_a_compiler_that_takes_too_long_is_given_up_and_said(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that has no time for it; one that is not there is another sentence."""
    slow = tmp_path / "cc"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setattr(native, "_given_up", set())
    monkeypatch.setattr(native, "library", native.library.__wrapped__)
    monkeypatch.setattr(native, "COMPILE_SECONDS", 0.1)
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setenv("CC", str(slow))
    place = tmp_path / "calibration.json"
    (said,) = own_choice._tried(place)
    assert said.startswith("the C compiler took more than 0.1 s for the kernels and was given up")
    assert f"tries again once {place} is deleted" in said
    assert own_choice._tried()[0].endswith("small networks are slower"), "nothing is kept that could be deleted"
    native._given_up.clear()
    monkeypatch.setattr(native, "_compiler", lambda: None)
    assert own_choice._tried(place) == [own_choice.MISSING]


def test_one_at_a_time_works_at_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait, but not for ever: whoever has the lock may have been stopped."""
    inside, done = threading.Event(), threading.Event()

    def work() -> None:
        with machine_cache.alone(tmp_path, "kernel"):
            inside.set()
            done.wait(10)

    worker = threading.Thread(target=work)
    worker.start()
    assert inside.wait(10)
    monkeypatch.setattr(machine_cache, "LOCK_SECONDS", 0.05)
    descriptor = os.open(tmp_path / ".kernel.lock", os.O_RDWR)
    assert not machine_cache._locked(descriptor)
    with machine_cache.alone(tmp_path, "kernel"):
        assert worker.is_alive()
    done.set()
    worker.join()
    assert machine_cache._locked(descriptor)
    os.close(descriptor)
