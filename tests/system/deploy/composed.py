"""docker-compose.yml without containers: each service's very command and environment, as a process of this machine.

What a container would give is translated, and nothing else: the host name `postgres`, paths of volumes and secrets, and
the published port. The conditions of depends_on, health checks, restart policies and grace periods are kept.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from warm import WarmProcess, start_warm

from hpo.duration import parse_duration

ROOT = Path(__file__).resolve().parents[3]
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
DEFAULT_GRACE_SECONDS = 10.0


class Refused(Exception):
    """What `docker compose` says when a variable it needs is missing."""


def read_compose(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with anchors and merges resolved and its variables filled in."""
    return dict(_filled(yaml.safe_load(COMPOSE_FILE.read_text()), environment))


def _filled(node: Any, environment: Mapping[str, str]) -> Any:
    """Compose fills variables in after it has read the YAML, so an empty one is an empty text and no null."""
    if isinstance(node, dict):
        return {key: _filled(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, environment) for value in node]
    return interpolate(node, environment) if isinstance(node, str) else node


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """${NAME}, ${NAME-default}, ${NAME:-default} and ${NAME:?message}, as the compose specification has them."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match["name"], match["operator"] or "", match["word"] or ""
        found = environment.get(name)
        if found is None or (":" in operator and not found):
            if "?" in operator:
                raise Refused(word)
            return word
        return found

    return re.sub(r"\$\{(?P<name>\w+)(?:(?P<operator>:?[-?])(?P<word>[^}]*))?\}", value, text)


def image_environment() -> dict[str, str]:
    """What the Dockerfile's stage `runtime` sets."""
    stage = DOCKERFILE.read_text().split(" AS runtime\n")[1].split("\nFROM ")[0]
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", stage, re.MULTILINE)
    assert block is not None
    return dict(re.findall(r"(\w+)=(\S+)", block[1]))


def entrypoint() -> list[str]:
    found = re.search(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found is not None
    return list(json.loads(found[1]))


@dataclass
class Running:
    """One container's worth: the process, and how often its restart policy has started it again."""

    service: str
    process: WarmProcess
    log: Path
    restarts: int = 0
    stopped: bool = False


@dataclass
class Composed:
    """The services of one `docker compose up`.

    translate: text of the file -> text that means the same on this machine
    """

    services: Mapping[str, Any]
    folder: Path
    translate: Mapping[str, str]
    running: list[Running] = field(default_factory=list)

    def start(self, service: str, *, seconds: float = 150.0) -> Running:
        """Start one instance once everything it depends on is as it must be."""
        for other, how in self.services[service].get("depends_on", {}).items():
            self._await(other, how["condition"], seconds)
        log = self.folder / f"{service}-{len(self.running)}.log"
        one = Running(service, self._spawn(service, log), log)
        self.running.append(one)
        return one

    def healthy(self, service: str) -> bool:
        """One run of the service's own health check."""
        test = self.services[service]["healthcheck"]["test"]
        seconds = parse_duration(self.services[service]["healthcheck"]["timeout"])
        command = [self._local(word.replace("$$", "$")) for word in test[1:]]
        if test[0] == "CMD-SHELL":
            command = ["/bin/sh", "-c", *command]
        if command[0] == "python":
            command[0] = sys.executable
        try:
            done = subprocess.run(command, env=self._environment(service), capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def restart_failed(self) -> int:
        """Do what `restart:` says to those that ended by themselves; how many were started again."""
        restarted = 0
        for one in self.running:
            code = one.process.poll()
            policy, _, most = str(self.services[one.service].get("restart", "no")).partition(":")
            again = {"no": False, "on-failure": code != 0, "unless-stopped": True, "always": True}[policy]
            if code is None or one.stopped or not again or (most and one.restarts >= int(most)):
                continue
            one.restarts += 1
            restarted += 1
            one.process = self._spawn(one.service, one.log)
        return restarted

    def stop(self, *which: Running) -> list[int]:
        """As `docker compose stop`: the stop signal, the grace period, then SIGKILL. The exit codes."""
        for one in which:
            one.stopped = True
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        for one in which:
            grace = self.services[one.service].get("stop_grace_period")
            seconds = parse_duration(grace) if grace else DEFAULT_GRACE_SECONDS
            try:
                one.process.wait(max(0.0, began + seconds - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        return [one.process.returncode for one in which]

    def of(self, service: str) -> list[Running]:
        return [one for one in self.running if one.service == service]

    def down(self) -> None:
        for one in self.running:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()

    def _await(self, service: str, condition: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        if condition == "service_healthy":
            while not self.healthy(service):
                assert time.monotonic() < until, f"{service} does not get healthy"
                time.sleep(0.2)
            return
        assert condition == "service_completed_successfully", condition
        instances = self.of(service)
        one = instances[-1] if instances else self.start(service)
        assert one.process.wait(seconds) == 0, one.log.read_text()

    def _spawn(self, service: str, log: Path) -> WarmProcess:
        words = [*entrypoint(), *(self._local(str(word)) for word in self.services[service]["command"])]
        assert words[0] == "hpo"
        with log.open("ab") as output:
            return start_warm(["-m", *words], self.folder, self._environment(service), output.fileno())

    def _environment(self, service: str) -> dict[str, str]:
        own = {name: str(value) for name, value in self.services[service].get("environment", {}).items()}
        inside = {name: self._local(value) for name, value in {**image_environment(), **own}.items()}
        outside = {name: os.environ[name] for name in ("PATH", "HPO_DATA_DIR") if name in os.environ}
        return {**outside, **inside, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'system' / 'deploy'}"}

    def _local(self, text: str) -> str:
        for inside, here in self.translate.items():
            text = text.replace(inside, here)
        return text
