"""A picture redrawn in place on a terminal that changes its size, without remains of older ones."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, ConsoleDimensions, ConsoleRenderable, RenderableType
from rich.control import Control
from rich.live import Live
from rich.text import Text

from hpo.user_code import described_bug

__all__ = ["resizing_live"]


def resizing_live(console: Console, render: Callable[[], RenderableType]) -> Live:
    """A display of what `render` gives, four times a second, that leaves nothing behind when it stops."""
    return _ResizingLive(
        console=console, get_renderable=render, refresh_per_second=4, vertical_overflow="crop", transient=True
    )


class _ResizingLive(Live):
    """Rich goes up as many rows as it drew. A terminal that became narrower has folded them into more since, and the
    rest would stay: after a change of size the visible screen is cleared and the picture begins at its top."""

    _drawn_at: ConsoleDimensions | None = None
    _failed: Text | None = None

    def get_renderable(self) -> RenderableType:
        return self._failed or super().get_renderable()

    def refresh(self) -> None:
        """Rich's own, but an error in the picture is shown in its place: it would end the run that is watched."""
        try:
            super().refresh()
        except OSError:  # of the terminal, which is gone
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            text = f"the picture of this run cannot be drawn: {described_bug(error)}; the run goes on"
            self._failed = Text(text, "yellow")
            super().refresh()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        found = super().process_renderables(renderables)
        size, before = self.console.size, self._drawn_at
        self._drawn_at = size
        if before is None or size == before or not self.console.is_interactive:
            return found
        return [Control.clear(), Control.home(), *found[1:]]
