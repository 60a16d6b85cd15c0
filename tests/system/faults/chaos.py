"""`make chaos`: two coordinators with two trainers each, and a seeded script that does them harm.

The two machines have one name. The script kills trainers and coordinators with SIGKILL, stops coordinators for longer
than their lease, restarts PostgreSQL, cuts connections and lets them hang, and writes into the study with plain Optuna
(enqueues, asks, tells, adds trials, and deletes a study beside it), until enough faults were injected. Then one quiet
`hpo run` finishes what was begun, and the database and the trainers' own logs say what it cost. Exit code 1 when a
trial was lost, counted twice or left running, or when a result is not what a training without interruption gives.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import psutil

sys.path.append(str(Path(__file__).parents[2]))  # pytest puts `tests` there by itself

from doors import DOORS, Door
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from proxy import Proxy
from world import HERE, Hpo, World

from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.embedded.server import Server

STUDIES = {
    "model": Door("chaos_study.py", first=1, name="mlp_digits", exact=True),
    "paused": Door("chaos_frozen_study.py", first=1, name="mlp_digits", exact=True),
    **DOORS,
}
LEASE_SECONDS = 6.0
STALL_SECONDS = 4.0  # longer than a statement may take with this lease
KINDS = {
    "trainer killed": 24,
    "coordinator killed": 14,
    "coordinator stopped": 6,
    "connections cut": 24,
    "connections stalled": 7,
    "PostgreSQL restarted": 11,
    "Optuna wrote": 14,
}
"""Each kind of fault, and how often of a hundred."""
WRITES = ("enqueue", "enqueue nonsense", "ask", "tell", "add", "delete")
"""What plain Optuna does. It has no way to delete a trial, only a study, which takes its trials' ids with it."""


@dataclass
class Line:
    time: float
    pid: int
    event: str
    trial: int
    epoch: int
    seconds: float


@dataclass
class Chaos:
    """The world, the way to it, and what was done to it."""

    world: World
    proxy: Proxy
    server: Server
    door: Door
    dice: random.Random
    log_path: Path
    hosts: list[Hpo] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    deaths: dict[int, float] = field(default_factory=dict)
    untold: list[int] = field(default_factory=list)
    """Numbers of the trials that plain Optuna asked for and has not told."""
    written: Counter[str] = field(default_factory=Counter)
    """What plain Optuna wrote."""

    def start(self, index: int) -> Hpo:
        """A host: the first one runs the study, the second works on it too."""
        return self.world.start(
            *self.door.words, command=("run", "worker")[index], OTHER_HOST=f"node@{index}", **self.logged()
        )

    def logged(self) -> dict[str, str]:
        """A command has a trainer of its own, which writes no log."""
        return {} if self.door is DOORS["command"] else {"TRAINER_LOG": str(self.log_path)}

    def log(self) -> list[Line]:
        if not self.log_path.exists():
            return []
        lines = (line.split() for line in self.log_path.read_text().splitlines())
        return [Line(float(t), int(pid), event, int(n), int(e), float(s)) for t, pid, event, n, e, s in lines]

    def training(self, host: Hpo) -> list[psutil.Process]:
        """Its trainers that are in the middle of an epoch, so that a fault does harm."""
        if not self.logged():
            return host.trainers()
        last = {line.pid: line.event for line in self.log()}
        return [child for child in host.trainers() if last.get(child.pid) in ("epoch", "replayed")]

    def keep_running(self) -> None:
        for index, host in enumerate(self.hosts):
            if host.process.poll() is not None:
                if host.process.returncode not in (-signal.SIGKILL, 4):
                    print(f"host {index} ended with {host.process.returncode}:\n{host.output[-2000:]}")
                self.hosts[index] = self.start(index)

    def strike(self) -> None:
        """One fault, if its victim is there to be harmed."""
        kind = self.dice.choices(list(KINDS), list(KINDS.values()))[0]
        host = self.dice.choice(self.hosts)
        victims = self.training(host)
        if kind == "trainer killed":
            if not victims:
                return
            victim = self.dice.choice(victims)
            self.kill(victim.pid)
        elif kind == "coordinator killed":
            if not victims:
                return
            self.deaths |= dict.fromkeys([victim.pid for victim in victims], time.monotonic())
            host.kill()
        elif kind == "coordinator stopped":
            if not victims:
                return
            host.send(signal.SIGSTOP)
            time.sleep(LEASE_SECONDS + 2)
            host.send(signal.SIGCONT)
        elif kind == "Optuna wrote":
            self.write()
        elif kind == "connections cut":
            if not self.proxy.cut():
                return
        elif kind == "connections stalled":
            self.proxy.stalled = True
            time.sleep(STALL_SECONDS)
            self.proxy.stalled = False
        else:
            self.server.stop(seconds=10)
            self.server.start(alone=True)
        self.faults[kind] += 1

    def optuna(self) -> optuna.Study:
        return optuna.load_study(study_name=self.door.name, storage=optuna.storages.RDBStorage(self.world.direct))

    def write(self) -> None:
        """What Optuna's API lets anybody do to a study of ours."""
        study = self.optuna()
        what = self.dice.choice(WRITES)
        self.written[what] += 1
        if what == "enqueue":
            study.enqueue_trial({"lr": self.dice.uniform(1e-3, 1e-2), "layers": 2})
        elif what == "enqueue nonsense":
            study.enqueue_trial(self.dice.choice([{"lr": "fast"}, {"layers": 99}, {"speed": 1.0}]))
        elif what == "add":
            study.add_trial(
                create_trial(value=0.1, params={"lr": 7.0}, distributions={"lr": FloatDistribution(1, 9, log=True)})
            )
        elif what == "delete":
            beside = optuna.create_study(storage=study._storage, study_name="beside")
            beside.enqueue_trial({"lr": 1.0})
            beside.tell(beside.ask({"lr": FloatDistribution(0, 2)}), 0.5)
            beside.ask()
            optuna.delete_study(study_name="beside", storage=study._storage)
        elif what == "tell" and self.untold:
            study.tell(self.untold.pop(), self.dice.random())
        else:
            self.untold.append(study.ask().number)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.deaths[pid] = time.monotonic()

    def rage(self, faults: int, seconds: float) -> None:
        """Strike until there were enough faults or the time is up."""
        self.hosts = [self.start(0)]
        self.hosts[0].says("trial")  # the worker needs a study to join
        self.hosts.append(self.start(1))
        limit = time.monotonic() + seconds
        while self.faults.total() < faults and time.monotonic() < limit:
            time.sleep(self.dice.uniform(0.5, 2.5))
            self.keep_running()
            self.strike()

    def calm(self) -> int:
        """Everybody leaves; then one quiet run finishes every trial that was begun. How many that are."""
        for host in self.hosts:
            if host.process.poll() is None:
                host.send(signal.SIGTERM)
        for host in self.hosts:
            host.process.wait(20)
        if any(host.process.returncode == -signal.SIGKILL for host in self.hosts):
            time.sleep(LEASE_SECONDS)  # until then it counts as at work, and below we would join its endless budget
        for number in self.untold:
            self.optuna().tell(number, state=TrialState.FAIL)
        asked = self.world.sql("SELECT count(*) FROM trials")[0][0]
        last = self.world.start(*self.door.trials(asked), **self.logged())
        last.ends(seconds=300)
        return int(asked)


def training_seconds(log: list[Line], deaths: dict[int, float]) -> tuple[float, float]:
    """(all training, training done again). An epoch cut short counts from its trainer's last word to its death."""
    total = again = 0.0
    trained: dict[tuple[int, int], float] = {}
    by_pid: dict[int, list[Line]] = defaultdict(list)
    for line in log:
        by_pid[line.pid].append(line)
        if line.event == "epoch":
            total += line.seconds
            key = (line.trial, line.epoch)
            again += line.seconds if key in trained else 0.0
            trained[key] = line.seconds
    for pid, died in deaths.items():
        last = by_pid[pid][-1] if by_pid[pid] else None
        if last is not None and last.event in ("epoch", "replayed"):
            total += died - last.time
            again += died - last.time
    return total, again


def verdict(chaos: Chaos, asked: int) -> dict[str, object]:
    """What the database says in the end."""
    world = chaos.world
    trials = world.trials()
    given_up = [t.number for t in trials if t.user_attrs.get("failure", {}).get("kind") == "attempts"]
    doubled = len(trials) - len({trial.number for trial in trials})
    outcomes = Counter(line.trial for line in chaos.log() if line.event in ("complete", "diverged", "failed"))
    rows = world.sql(
        "SELECT t.number, max(e.epoch), count(*) FROM hpo_epochs e JOIN trials t USING (trial_id) GROUP BY 1"
    )
    doubled += sum(1 for _, last, count in rows if last + 1 - chaos.door.first != count)
    stale = sum(trial.state.name in ("RUNNING", "WAITING") for trial in trials)
    stale += world.sql("SELECT count(*) FROM hpo_leases WHERE worker_id IS NOT NULL")[0][0]
    total, again = training_seconds(chaos.log(), chaos.deaths)
    return {
        "faults": chaos.faults.total(),
        **{f"  {kind}": chaos.faults[kind] for kind in KINDS},
        **{f"    {what}": chaos.written[what] for what in WRITES},
        "trials asked": asked,
        "finished": sum(trial.state.is_finished() for trial in trials),
        "given up by policy": len(given_up),
        "lost": asked - sum(trial.state.is_finished() for trial in trials),
        "doubled": doubled,
        "stale": stale,
        "answered again without training": sum(count - 1 for count in outcomes.values() if count > 1),
        "training seconds": round(total, 1),
        "of them repeated": round(again, 1),
        "repeated percent": round(100 * again / max(total, 1e-9), 1),
    }


def reproduced(chaos: Chaos, count: int) -> tuple[int, int]:
    """Of the complete trials that were interrupted most often: (bit for bit the same when trained in one go, tried)."""
    begun = Counter(line.trial for line in chaos.log() if line.event == "begin")
    complete = [t for t in chaos.world.trials() if t.state.name == "COMPLETE" and begun[t._trial_id]]
    complete.sort(key=lambda trial: -begun[trial._trial_id])
    same = 0
    for trial in complete[:count]:
        process = chaos.world.start("--trial", str(trial.number), "--json", command="reproduce")
        same += process.process.wait(300) == 0
        if process.process.returncode:
            print(process.output[-1500:])
    return same, len(complete[:count])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--study", choices=STUDIES, default="model", help="who trains: hpo, or one's own code by a door"
    )
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=600.0, help="at most, of doing harm")
    parser.add_argument("--reproduce", type=int, default=2, help="interrupted trials to train again in one go")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the folder with every log")
    options = parser.parse_args()
    door = STUDIES[options.study]
    folder = Path(tempfile.mkdtemp(prefix="hpo-chaos-"))
    direct = embedded_url(folder / "server")
    server = Server(folder / "server" / "postgres")
    proxy = Proxy(folder / "server" / "postgres" / ".s.PGSQL.5432")
    world = World(
        url=f"postgresql+psycopg2://postgres@127.0.0.1:{proxy.port}/postgres",
        folder=folder,
        fake=None,
        study=str(HERE / door.study),
        name=door.name,
        lease_seconds=LEASE_SECONDS,
        warm=False,
    )
    world.direct = direct
    chaos = Chaos(world, proxy, server, door, random.Random(options.seed), folder / "trainers.log")
    began = time.monotonic()
    try:
        chaos.rage(options.faults, options.seconds)
        found = verdict(chaos, chaos.calm())
        tried = options.reproduce if door.exact else 0
        found["same when trained in one go"], found["tried"] = reproduced(chaos, tried)
    finally:
        world.end()
        proxy.close()
        leave_embedded(folder / "server")
    found["seed"], found["seconds"] = options.seed, round(time.monotonic() - began)
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name:34}{value}" for name, value in found.items()))
    bad = found["lost"] or found["given up by policy"] or found["doubled"] or found["stale"]
    bad = bad or found["same when trained in one go"] != found["tried"]
    if bad or options.keep:
        print(f"what is left of it: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
