"""The live picture on a terminal whose size changes: nothing of an older picture stays."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PROGRAM = """
import os, sys, time
from hpo.cli.watching import LiveDisplay
from hpo.trainers.snapshot import Best, SlotView, Snapshot
slots = tuple(SlotView("cpu", "training", n, 3, 20, 0.9, 1.0) for n in range(3))
counts = {"complete": 12, "pruned": 31, "failed": 1, "running": 3, "waiting": 0}
params = {f"parameter_{n}x": n for n in range(9)}
with LiveDisplay() as display:
    for line in sys.stdin:  # a line for each size that the terminal has taken
        best = Best(1, 0.9, params)
        display.snapshot(Snapshot("mlp_mnist", "val_accuracy", "maximize", counts, best, 60.0, None, 5.0, slots))
        for _ in range(3):
            time.sleep(0.1)
            display._live.refresh()
        os.write(1, b"drawn\\n")
os.write(1, b"over\\n")
"""


class Screen:
    """As much of a terminal as the picture needs. Like xterm and tmux it folds long lines when its width changes."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column = [""], 0, 0

    def resize(self, columns: int) -> None:
        folded: list[str] = []
        row = 0
        for index, line in enumerate(self.lines):
            pieces = [line[start : start + columns] for start in range(0, len(line), columns)] or [""]
            row = len(folded) + len(pieces) - 1 if index == self.row else row
            folded += pieces
        self.lines, self.row, self.columns, self.column = folded, row, columns, 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[[?\d;]*[a-zA-Z]|[^\x1b]", text):
            if part.startswith("\x1b["):
                self._control(part[-1], part[2:-1])
            elif part == "\r":
                self.column = 0
            elif part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + 1 :]
                self.column += 1

    def _control(self, kind: str, words: str) -> None:
        count = int(words) if words.isdigit() else 1
        if kind == "A":
            self.row = max(0, self.row - count)
        elif kind == "H":
            self.row = self.column = 0
        elif kind == "J" and words == "2":
            self.lines = [""] * len(self.lines)
        elif kind == "K":
            self.lines[self.row] = "" if words == "2" else self.lines[self.row][: self.column]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def test_a_terminal_that_changes_its_size_keeps_nothing_of_an_older_picture() -> None:
    """110 columns, 80, 60, 110: after each there is one picture, and at the end there is none."""
    ours, theirs = pty.openpty()
    screen = Screen(110, 40)
    size(theirs, 110)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "", "LINES": "", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for columns in (110, 80, 60, 110):
            size(theirs, columns)
            screen.resize(columns)
            process.send_signal(signal.SIGWINCH)
            process.stdin.write(b"\n")
            process.stdin.flush()
            drawn(ours, process, screen)
            assert screen.text.count("mlp_mnist") == 1, screen.text
            assert screen.text.count("best  0.90000") == 1, screen.text
            assert screen.text.count("parameter_8x") == 1, screen.text
        process.stdin.close()
        drawn(ours, process, screen)
        assert process.wait(30) == 0
        assert "mlp_mnist" not in screen.text
        assert "cpu" not in screen.text
    finally:
        process.kill()
        process.wait()
        for end in (ours, theirs):
            os.close(end)


def size(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))


def drawn(terminal: int, process: subprocess.Popen[bytes], screen: Screen) -> None:
    """Read the terminal until the program says that it has drawn, or that it is over, and then what is still there."""
    assert process.stdout is not None
    said, until = b"", time.monotonic() + 60
    while b"\n" not in said:
        assert time.monotonic() < until, screen.text
        ready, _, _ = select.select([terminal, process.stdout], [], [], 1.0)
        if terminal in ready:
            screen.feed(os.read(terminal, 65536).decode(errors="ignore"))
        if process.stdout in ready:
            said += os.read(process.stdout.fileno(), 64)
    while select.select([terminal], [], [], 0.2)[0]:
        screen.feed(os.read(terminal, 65536).decode(errors="ignore"))
