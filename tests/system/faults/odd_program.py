"""A program that does what it should not: `odd_program.py CASE`. odd_commands.py says what becomes of each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

METRICS = os.environ["HPO_METRICS"]


def say(text: str, mode: str = "a") -> None:
    with open(METRICS, mode, encoding="utf-8") as file:
        file.write(text)


def report(**metrics: Any) -> None:
    say(json.dumps(metrics) + "\n")


def reports() -> None:
    for epoch in range(3):
        report(epoch=epoch, score=epoch / 4)


def rewrites() -> None:
    """Opens its file anew for each line, with no newline at the end."""
    for epoch in range(3):
        say(json.dumps({"epoch": epoch, "score": epoch / 4}), "w")


def silent() -> None:
    print("nothing to see")


def other_name() -> None:
    report(epoch=1, scores=0.5, loss=1)


def meaningless() -> None:
    say("\n\n{\n[1, 2]\nnull\n" + '{"score": "high"}\n' + "\0\x1b[31m\n" + '{"score": 0.5, "epoch": 1}\n')


def huge_line() -> None:
    say("x" * 3_000_000 + "\n")
    report(score=0.5)


def nan() -> None:
    report(epoch=0, score=0.5)
    report(epoch=1, score=float("nan"))


def null() -> None:
    report(epoch=1, score=None)


def replaces() -> None:
    os.unlink(METRICS)
    report(score=0.5)


def no_newline() -> None:
    say('{"score": 0.5}')


def fails() -> None:
    report(score=0.5)
    print("about to fail")
    sys.exit("the learning rate is odd")


def exits_3() -> None:
    os._exit(3)


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_memory() -> None:
    raise MemoryError("no room")


def gigabyte() -> None:
    block = b"x" * 2**20
    for _ in range(1024):
        os.write(1, block)
    report(score=0.5)


def binary() -> None:
    os.write(1, bytes(range(256)) * 100)
    os.write(2, b"\x1b]0;title\x07\x1b[2J\n")
    sys.exit("that was binary")


def stdin() -> None:
    report(score=float(sys.stdin.read() == ""))


def terminal() -> None:
    """Nobody's terminal: what it writes there would stand in hpo's display."""
    with contextlib.suppress(OSError):
        open("/dev/tty", "w").close()
        report(score=0.0)
    report(score=float(os.getpgrp() == os.getpid()))


def closes() -> None:
    """Its output ends long before it does."""
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    time.sleep(0.3)
    report(score=0.5)


def children() -> None:
    """A child that leaves group, session and parent, ignores what it can, and holds both pipes."""
    code = (
        "import os, signal, sys, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); f = open(os.environ['HPO_METRICS'], 'a'); time.sleep(60)"
    )
    subprocess.run([sys.executable, "-c", code, "a-child-that-hides", sys.argv[4]], check=True)
    report(score=0.5)


def environment() -> None:
    params = json.loads(os.environ["HPO_PARAMS"])
    good = params == {"case": "environment"} and os.environ["CUDA_VISIBLE_DEVICES"] == ""
    good &= Path(os.environ["HPO_CHECKPOINT_DIR"]).is_dir() and os.environ["HPO_SEED"] == sys.argv[2]
    good &= os.environ["HPO_TRIAL_NUMBER"] == sys.argv[3] and sys.argv[4] == os.environ["HPO_CHECKPOINT_DIR"]
    report(score=float(good and "HPO_STORAGE" not in os.environ and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
