"""What a running search shows on stderr: a live view on a terminal, lines anywhere else or where they are asked for."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hpo.cli.log_lines import JsonLines, PlainLines
from hpo.errors import UsageError
from hpo.printable import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from hpo.trainers.snapshot import Snapshot

__all__ = ["LiveDisplay", "watcher"]


def watcher(
    *, quiet: bool, verbose: bool = False, log_json: bool = False, storage: str | None = None
) -> LiveDisplay | PlainLines | JsonLines:
    """The live view where it is wanted and a terminal can draw it.

    hpo.api.run calls its `phase` before the first trial, its `snapshot` a few times a second, and its `notice` for an
    event worth a line. Raises UsageError for --quiet together with --verbose.
    """
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other", next="leave one of them out")
    if log_json:
        return JsonLines(quiet=quiet, verbose=verbose, place=_place(storage))
    plain = quiet or verbose or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"
    return PlainLines(quiet=quiet, verbose=verbose, place=_place(storage)) if plain else LiveDisplay()


def _place(storage: str | None) -> str:
    """The database without its password; hpo's own by its folder."""
    from hpo.settings import Settings
    from hpo.storage.engine import hide_password

    settings = Settings.read()
    url = storage or settings.storage
    return hide_password(url) if url else f"in {settings.home}"


class LiveDisplay:
    """A view redrawn in place. When the search ends it disappears, and the summary takes its place."""

    def __init__(self, events: int = 4) -> None:
        self._latest: Snapshot | None = None
        self._events: deque[str] = deque(maxlen=events)
        self._unshown: list[str] = []
        self._phases: list[tuple[str, float]] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from hpo.cli.output import progress_console
        from hpo.cli.resizing import resizing_live

        self._live = resizing_live(progress_console(), self.render)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._live is not None
        self._live.stop()

    def phase(self, text: str) -> None:
        """What happens before the first trial, shown with how long it has taken."""
        self._phases.append((text, time.monotonic()))

    def snapshot(self, snapshot: Snapshot) -> None:
        # A notice waits for the next snapshot, whose counts and slots agree with it.
        self._events.extend(self._unshown)
        self._unshown.clear()
        self._latest = snapshot

    def notice(self, text: str) -> None:
        self._unshown.append(f"{time.strftime('%H:%M:%S')}  {one_line(text)}")

    def render(self) -> RenderableType:
        from hpo.cli.live_view import live_view, phases_view

        if self._latest is None:
            return phases_view(self._phases, self._unshown[-1:], time.monotonic())
        height = self._live.console.height if self._live else 40
        return live_view(self._latest, tuple(self._events), height=height)
