"""What a running search has found, as a few lines of its picture: the way up, what mattered, a hint."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from hpo.cli.answer_lines import mattered_lines
from hpo.duration import format_duration
from hpo.wording import difference, score

if TYPE_CHECKING:
    from hpo.insight import Insight
    from hpo.trainers.snapshot import Best, Snapshot

__all__ = ["beside", "findings", "labelled", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
WIDEST = 24
"""Columns of the line that shows the way up."""
INDENT = 7


def beside(snapshot: Snapshot) -> str:
    """`  +0.00697 vs baseline 0.97909  last gain 12m 05s ago`: what stands beside the best; "" while not known."""
    insight, best = snapshot.insight, snapshot.best
    if insight is None or best is None:
        return ""
    parts = []
    baseline = insight.settings.baseline_value
    if baseline is not None:
        if insight.settings.baseline_trial == best.trial:
            parts.append("the baseline")
        else:
            gap = best.value - baseline
            parts.append(f"{'+' if gap >= 0 else '-'}{difference(abs(gap))} vs baseline {score(baseline)}")
    gain = insight.pace.last_gain
    if gain is not None and gain.value != best.value:  # a newer best than the answers, which follow within seconds
        parts.append("last gain just now")
    elif gain is not None and gain.ended is not None:
        parts.append(f"last gain {format_duration(max(0.0, time.time() - gain.ended.timestamp()))} ago")
    return "".join(f"  {part}" for part in parts)


def findings(insight: Insight | None, best: Best | None) -> Iterator[tuple[str, RenderableType]]:
    """(label, line) of each thing worth a line, the most useful first."""
    if insight is None or best is None:
        return
    if not insight.mattered.why:
        yield "matters", Text("   ".join(mattered_lines(insight)))
    hint = insight.mattered.edges[0].text if insight.mattered.edges else ""
    if hint:
        yield "hint", Text(hint, style="yellow")
    if len(insight.pace.gains) > 1:
        gains = [gain.value for gain in insight.pace.gains]
        yield "way up", _WayUp(gains if gains[-1] == best.value else [*gains, best.value])
    if insight.pruning is not None and insight.pruning.seconds >= 1:
        yield "saved", Text(f"about {format_duration(insight.pruning.seconds)} by pruning")


def labelled(name: str, line: RenderableType) -> Table:
    """One line with its label in front."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True, min_width=INDENT)
    table.add_column()
    table.add_row(name, line)
    return table


@dataclass(frozen=True)
class _WayUp:
    """The best so far at each gain; as numbers where the terminal has no blocks."""

    values: Sequence[float]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.ascii_only:
            yield Text(f"{score(self.values[0])} to {score(self.values[-1])} in {len(self.values) - 1} gains")
            return
        yield Text(
            f"{sparkline(self.values)}  {score(self.values[0])} to {score(self.values[-1])} in "
            f"{len(self.values) - 1} gain{'s' if len(self.values) > 2 else ''}"
        )


def sparkline(values: Sequence[float], widest: int = WIDEST) -> str:
    """One block for each value, the lowest and the highest filling the range; the last `widest` of them."""
    shown = values[-widest:]
    low, high = min(shown), max(shown)
    if high == low:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[round((value - low) / (high - low) * (len(BLOCKS) - 1))] for value in shown)
