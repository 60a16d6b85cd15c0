"""A Slurm of one node on this machine: real munged, slurmctld and slurmd, in a folder of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.system.deploy.password_server import free_port
from tests.system.deploy.tools import find

_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 GraceTime=15 State=UP
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """Two CPUs, and two partitions of which `high` preempts `low`, giving it 15 seconds."""

    folder: Path

    def run(self, program: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """The output of one of Slurm's programs."""
        done = subprocess.run(
            [find(program), *arguments],
            env={**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), **(environment or {})},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}{self.logs()}"
        return done.stdout.strip()

    def states(self) -> list[str]:
        """One line for each task that waits or runs: id, state, reason."""
        return self.run("squeue", "--noheader", "--array", "--format", "%F_%K %T %r").splitlines()

    def logs(self) -> str:
        return "".join(f"\n--- {path.name}\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def slurm_cluster() -> Iterator[Slurm]:
    """A cluster for the block; every process of it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hpo-slurm-"))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().split(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(folder=folder, host=host, controller_port=free_port(), node_port=free_port())
    )
    names = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "log-file": "munged.log"}
    slurm = Slurm(folder)
    try:
        options = [f"--{option}={folder / name}" for option, name in {**names, "seed-file": "munge.seed"}.items()]
        _start([find("munged"), "--force", *options], folder)
        _start([find("slurmctld"), "-f", str(configuration)], folder)
        _start([find("slurmd"), "-f", str(configuration), "-N", host], folder)
        until = time.monotonic() + 60
        while "idle" not in slurm.run("sinfo", "--noheader", "--format", "%T"):
            assert time.monotonic() < until, slurm.logs()
            time.sleep(0.5)
        yield slurm
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            with suppress(OSError, ValueError):
                os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)
        _end_what_is_left(str(configuration))
        shutil.rmtree(folder, ignore_errors=True)


def _end_what_is_left(configuration: str) -> None:
    """Jobs outlive the daemons on purpose: every process of this cluster has its configuration in the environment."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURM_CONF") == configuration:
                process.kill()


def _start(command: list[str], folder: Path) -> None:
    subprocess.run(command, check=True, env={**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}, timeout=60)
