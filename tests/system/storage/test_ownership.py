"""Root, and anybody else, in a folder that is somebody else's: nothing there leads hpo to a file outside it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.cli.main import run_command
from hpo.errors import StorageError
from hpo.ownership import open_no_link
from hpo.settings import Settings
from hpo.storage.embedded.embedded import embedded_url, leave_embedded

NOBODY = 65534
CLIENT = """
import os, sys
from pathlib import Path
import hpo.storage.embedded.server
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
os.setgroups([]); os.setgid(65534); os.setuid(65534)
embedded_url(Path(sys.argv[1]))
leave_embedded(Path(sys.argv[1]))
print("up")
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of another account, which only root can make")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Reached by any account, as far as the folders above are concerned."""
    for step in (tmp_path, *tmp_path.parents):
        if step.stat().st_uid == os.geteuid():
            step.chmod(step.stat().st_mode | 0o005)
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    yield folder
    os.chown(folder, os.geteuid(), os.getegid())
    leave_embedded(folder)


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file that is nobody else's business."""
    file = tmp_path / "precious"
    file.write_text("kept")
    file.chmod(0o600)
    return file


def untouched(file: Path) -> bool:
    found = file.stat()
    return (file.read_text(), stat.S_IMODE(found.st_mode), found.st_uid) == ("kept", 0o600, os.geteuid())


@as_root
@pytest.mark.parametrize("words", [["status"], ["run", "--study", "mlp_digits"], ["db", "init"], ["dashboard"]])
def test_root_touches_nothing_in_a_home_of_somebody_elses(
    home: Path, precious: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "postgres").mkdir()
    for name in ("postgres.log", "postgres.boot", "postgres.lock", "postgres.users", "journal", "cache"):
        (home / name).symlink_to(precious)
    for each in (home, *home.iterdir()):
        os.chown(each, NOBODY, NOBODY, follow_symlinks=False)
    before = sorted(home.rglob("*"))
    monkeypatch.setenv("HPO_HOME", str(home))
    assert run_command(words) == 4
    assert f"{home} belongs to nobody, and you are root" in capsys.readouterr().err
    assert untouched(precious)
    assert sorted(home.rglob("*")) == before


@as_root
def test_a_link_of_somebody_elses_is_no_home(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StorageError, match="belongs to nobody"):
        Settings.read({"HPO_HOME": str(link)})
    with pytest.raises(StorageError, match="belongs to nobody"):
        embedded_url(link)
    assert list(home.iterdir()) == []


@as_root
def test_an_ordinary_user_starts_no_server_in_a_home_of_somebody_elses(home: Path) -> None:
    os.chown(home, 10001, 10001)
    home.chmod(0o777)
    done = subprocess.run([sys.executable, "-c", CLIENT, str(home)], capture_output=True, text=True, check=False)
    assert "belongs to account 10001, and you are nobody" in done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("name", ["postgres.log", "postgres.boot"])
def test_the_server_writes_through_no_link(home: Path, precious: Path, name: str) -> None:
    """A folder of one's own may hold a link, too, if others may write there."""
    (home / name).symlink_to(precious)
    embedded_url(home)
    assert untouched(precious)
    assert not (home / name).is_symlink()


@pytest.mark.parametrize("name", ["postgres.lock", "postgres.users"])
def test_no_lock_is_made_through_a_link(home: Path, tmp_path: Path, name: str) -> None:
    (home / name).symlink_to(tmp_path / "made")
    with pytest.raises(StorageError, match="cannot keep a database"):
        embedded_url(home)
    assert not (tmp_path / "made").exists()


def test_a_file_with_two_names_or_no_file_is_not_opened(home: Path, precious: Path) -> None:
    os.link(precious, home / "second")
    os.mkfifo(home / "pipe")
    for name in ("second", "pipe"):
        with pytest.raises(OSError, match="not an ordinary file"):
            open_no_link(home / name, os.O_RDWR)


@as_root
def test_the_owner_goes_on_where_root_has_been(home: Path) -> None:
    """A log and a note of root's stand in the way of nothing; a lock of root's is said to be root's."""
    os.chown(home, NOBODY, NOBODY)
    for name in ("postgres.log", "postgres.boot"):
        (home / name).write_text("of root's")
        (home / name).chmod(0o600)
    command = [sys.executable, "-c", CLIENT, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("up\n", "")
    os.chown(home / "postgres.lock", 0, 0)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{home}/postgres.lock belongs to root\nnext: `sudo chown -R nobody {home}`" in done.stderr


@as_root
def test_root_opens_no_folder_that_somebody_else_keeps_closed(home: Path) -> None:
    """The server's account has to pass through; root opens its own folders for it, and no others."""
    os.chown(home, NOBODY, NOBODY)
    home.chmod(0o700)
    with pytest.raises(StorageError, match="cannot reach") as caught:
        embedded_url(home / "below")
    assert "belongs to nobody, who keeps it closed" in str(caught.value)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
