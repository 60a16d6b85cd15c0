"""Run the steps of the check, each with a limit of its own, and print what they found as one table.

    python -m benchmarks.gpu_check [--device cpu] [--budget 530] [--only NAME ...] [--out FOLDER]

Ends with 1 if a row says FAIL.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.gpu_check.rows import Row, read_rows, show

ROOT = Path(__file__).resolve().parents[2]
LEAST_SECONDS = 15
"""A step with less time than this left, and than it may take, is not begun."""
SLOWER = {"cuda": 1, "cpu": 3}
"""What a step's limit is multiplied with: a rehearsal measures nothing."""


@dataclass(frozen=True)
class Step:
    """module, words: what `python -m` runs. together: steps in a row with the same word run at once."""

    name: str
    seconds: int
    module: str
    words: tuple[str, ...] = ()
    together: str = ""


PROBES = ("reads_a_value", "host_choice", "assertion", "out_of_memory", "resume", "leftovers", "twice")
STEPS = (
    Step("machine", 30, "machine"),
    Step("tests", 90, "suite"),
    *(Step(name, 80, "probes", (name,), "probes") for name in PROBES),
    Step("killed", 80, "searches", ("killed",)),
    Step("steps", 60, "steps"),
    *(Step(f"speed {name}", 75, "speed", (name,)) for name in ("cnn_mnist", "mlp_mnist", "mobilenet_v3_cifar10")),
    Step("accuracy", 75, "accuracy"),
    Step("auto", 90, "searches", ("auto",)),
)


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder  # of all steps: those that are killed cannot clean up
        try:
            return _check(options)
        finally:
            _end_servers(Path(folder))


def _check(options: argparse.Namespace) -> int:
    end = time.monotonic() + options.budget
    rows: list[Row] = []
    chosen = [step for step in STEPS if not options.only or step.name.split()[0] in options.only]
    for _, steps in groupby(chosen, lambda step: step.together or step.name):
        for row in _run(list(steps), end, options):
            print(f"{row.name}: {row.verdict} {row.figure}", flush=True)
            rows.append(row)
        table = show(rows)
        (options.out / "summary.txt").write_text(table + "\n")  # after each: whatever ends the check, this is there
    with tarfile.open(options.out / "logs.tar.gz", "w:gz") as archive:
        for log in sorted(options.out.glob("*.log")):
            archive.add(log, log.name)
            log.unlink()
    print(f"\n{table}" if rows else "no step of that name")
    return int(any(row.verdict == "FAIL" for row in rows))


def _end_servers(folder: Path) -> None:
    """Stop the databases that killed searches have left."""
    for file in folder.rglob("postmaster.pid"):
        with suppress(OSError, ValueError, IndexError):
            os.kill(int(file.read_text().split()[0]), signal.SIGQUIT)


def _run(steps: Sequence[Step], end: float, options: argparse.Namespace) -> Iterator[Row]:
    """The rows of steps that run at once."""
    left = end - time.monotonic()
    if left < min(LEAST_SECONDS, *(step.seconds for step in steps)):
        yield from (Row(step.name, "NOT RUN", "no time left") for step in steps)
        return
    begun = time.monotonic()
    started = [(step, _start(step, options)) for step in steps]
    for step, process in started:
        limit = min(step.seconds * SLOWER[options.device], left)
        try:
            code = str(process.wait(max(1.0, begun + limit - time.monotonic())))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = f"its limit of {limit:.0f} s"
        output = _log(step, options).read_text(errors="replace")
        found = read_rows(output)
        yield from found
        if code != "0" or not found:
            yield Row(step.name, "FAIL", f"ended with {code}: {_last_line(output)}")


def _start(step: Step, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "GPU_CHECK_DEVICE": options.device, "PYTHONUNBUFFERED": "1"}
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with _log(step, options).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", f"benchmarks.gpu_check.{step.module}", *step.words],
            env={**environ, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,  # its limit ends all that it started
        )


def _log(step: Step, options: argparse.Namespace) -> Path:
    out: Path = options.out
    return out / f"{step.name.replace(' ', '-')}.log"


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("ROW ")]
    return lines[-1].strip()[:300] if lines else "it printed nothing"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal without a GPU")
    parser.add_argument("--budget", type=float, default=530.0, help="seconds for everything")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help=" ".join(dict.fromkeys(s.name.split()[0] for s in STEPS))
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder of summary.txt and logs.tar.gz")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
