"""What a running search shows on stderr: a live view on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hpo.cli.output import notice as print_line
from hpo.cli.states import counts_text
from hpo.duration import format_duration
from hpo.printable import one_line
from hpo.wording import score

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from hpo.trainers.snapshot import Snapshot

__all__ = ["LiveDisplay", "PlainLines", "watcher"]

HEARTBEAT_SECONDS = 60.0
LINES_AT_ONCE = 20
LINES_PER_SECOND = 2.0


def watcher(*, quiet: bool) -> LiveDisplay | PlainLines:
    """The live view where it is wanted and a terminal can draw it.

    hpo.api.run calls its `snapshot` a few times a second, and its `notice` for an event worth a line.
    """
    plain = quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"
    return PlainLines(quiet=quiet) if plain else LiveDisplay()


class LiveDisplay:
    """A view redrawn in place. When the search ends it disappears, and the summary takes its place."""

    def __init__(self, events: int = 4) -> None:
        self._latest: Snapshot | None = None
        self._events: deque[str] = deque(maxlen=events)
        self._unshown: list[str] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        from hpo.cli.output import progress_console

        self._live = Live(
            console=progress_console(),
            get_renderable=self.render,
            refresh_per_second=4,
            vertical_overflow="crop",
            transient=True,
        )
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._live is not None
        self._live.stop()

    def snapshot(self, snapshot: Snapshot) -> None:
        # A notice waits for the next snapshot, whose counts and slots agree with it.
        self._events.extend(self._unshown)
        self._unshown.clear()
        self._latest = snapshot

    def notice(self, text: str) -> None:
        self._unshown.append(f"{time.strftime('%H:%M:%S')}  {one_line(text)}")

    def render(self) -> RenderableType:
        from rich.text import Text

        from hpo.cli.live_view import live_view

        if self._latest is None:
            return Text(self._unshown[-1] if self._unshown else "starting", style="dim")
        height = self._live.console.height if self._live else 40
        return live_view(self._latest, tuple(self._events), height=height)


class PlainLines:
    """A line per event, at most a few per second, and a line with the counts now and then."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = print_line,
    ) -> None:
        self._quiet = quiet
        self._clock = clock
        self._write = write
        self._allowance = float(LINES_AT_ONCE)
        self._refilled = self._heard = clock()
        self._left_out = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_left_out()

    def snapshot(self, snapshot: Snapshot) -> None:
        """After a minute without another line, how far the study is."""
        if not self._quiet and self._clock() - self._heard > HEARTBEAT_SECONDS:
            self._line(_progress(snapshot))

    def notice(self, text: str) -> None:
        if not _routine(text):
            self._line(text)
        elif not self._quiet:
            self._limited(text)

    def _limited(self, text: str) -> None:
        now = self._clock()
        self._allowance = min(float(LINES_AT_ONCE), self._allowance + (now - self._refilled) * LINES_PER_SECOND)
        self._refilled = now
        # When there are too many lines, a few seconds of silence and one number read better than every third line.
        if self._allowance < 1.0 or (self._left_out and self._allowance < LINES_AT_ONCE / 2):
            self._left_out += 1
            return
        self._allowance -= 1.0
        self._write_left_out()
        self._line(text)

    def _write_left_out(self) -> None:
        if self._left_out:
            self._line(f"({self._left_out} more trial{'s' if self._left_out > 1 else ''} ended)")
            self._left_out = 0

    def _line(self, text: str) -> None:
        self._heard = self._clock()
        self._write(text)


def _routine(text: str) -> bool:
    """Whether the line says that a trial ended as usual. No other line is left out."""
    return re.match(r"trial \d+ (complete|pruned)\b", text) is not None and "memory" not in text


def _progress(snapshot: Snapshot) -> str:
    parts = [counts_text(snapshot.counts)]
    if snapshot.best is not None:
        parts.append(f"best {score(snapshot.best.value)}")
    if snapshot.seconds_left is not None:
        parts.append(f"{format_duration(snapshot.seconds_left)} left")
    return f"{snapshot.study}: {'; '.join(parts)}"
