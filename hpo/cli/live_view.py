"""A Snapshot as rich draws it. Pure: the same snapshot gives the same lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from hpo.cli.live_findings import beside, findings, labelled
from hpo.cli.states import COUNTS, STYLES
from hpo.cli.wrapping import WrappedParameters, WrappedPhrases
from hpo.duration import format_duration
from hpo.storage.optuna_schema import count_finished
from hpo.trainers.snapshot import SlotView, Snapshot
from hpo.wording import score

__all__ = ["live_view", "phases_view"]

WIDEST = 110
"""On a wider terminal the right-hand column would be too far from the rest of its row."""

ROOMY = 78
"""From so many columns on, the first lines also say when it ends, how fast it is and how far the baseline is."""

NARROW = 50
"""Below this many columns a slot has no bar and no time, and states without a trial are left out."""

ECHO = 2
"""Columns left free: the terminal writes `^C` after the last line, and a line that wraps would be left behind."""

ALWAYS = 100
"""Importance of a part that is always shown."""

_STATE_STYLES = {"training": "", "idle": "dim", "starting": "dim", "restarting": "yellow", "quarantined": "red"}


def live_view(snapshot: Snapshot, events: Sequence[str] = (), *, height: int = 40) -> RenderableType:
    """Header, budget, counts, best, one line per slot, the last events.

    If it does not fit into `height` rows, blank lines and old events go first, then the best parameters, then the bar.
    Slots that get no row are counted.
    """
    return _LiveView(snapshot, events, height)


def phases_view(phases: Sequence[tuple[str, float]], notices: Sequence[str], now: float) -> RenderableType:
    """What a run does before its first trial: each part with the seconds that it took, the last one still at it."""
    table = Table.grid(padding=(0, 2))
    for index, (text, began) in enumerate(phases):
        running = index == len(phases) - 1
        ended = now if running else phases[index + 1][1]
        table.add_row(Text(text, style="" if running else "dim"), Text(format_duration(ended - began), style="dim"))
    for notice in notices:
        table.add_row(Text(notice, style="dim"))
    return table if phases or notices else Text("starting", style="dim")


@dataclass(frozen=True)
class _LiveView:
    snapshot: Snapshot
    events: Sequence[str]
    height: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        options = options.update(width=max(1, min(options.max_width - ECHO, WIDEST)), height=None)
        slots = self.snapshot.slots
        reserved = min(len(slots) + 1, max(1, self.height // 3)) if slots else 0
        blocks = [
            (importance, console.render_lines(part, options, pad=False))
            for importance, part in self._above_slots(options.max_width)
        ]
        above = len(blocks)
        blocks += [
            (importance, console.render_lines(part, options, pad=False)) for importance, part in self._below_slots()
        ]
        for index in sorted(range(len(blocks)), key=lambda index: blocks[index][0]):
            if blocks[index][0] < ALWAYS and sum(len(lines) for _, lines in blocks) + reserved > self.height:
                blocks[index] = (0, [])
        room = self.height - sum(len(lines) for _, lines in blocks)
        table = console.render_lines(_slots(slots, room, options.max_width), options, pad=False) if slots else []
        for lines in (*(lines for _, lines in blocks[:above]), table, *(lines for _, lines in blocks[above:])):
            for line in lines:
                yield from line
                yield Segment.line()

    def _above_slots(self, width: int) -> Iterator[tuple[int, RenderableType]]:
        """Each part with its importance."""
        snapshot = self.snapshot
        yield ALWAYS, _header(snapshot, width)
        yield 30, _budget(snapshot)
        yield 60, _counts(snapshot, width)
        if snapshot.database_away_seconds > 0:
            yield ALWAYS, _away(snapshot.database_away_seconds)
        yield 1, Text()
        yield ALWAYS, _best(snapshot, width)
        if snapshot.best is not None and snapshot.best.params:
            yield 20, Padding(WrappedParameters(snapshot.best.params), (0, 0, 0, 6))
        for importance, (name, line) in zip((16, 15, 14, 13), findings(snapshot.insight, snapshot.best), strict=False):
            yield importance, labelled(name, line)
        if snapshot.slots:
            yield 2, Text()

    def _below_slots(self) -> Iterator[tuple[int, RenderableType]]:
        if self.events:
            yield 3, Text()
        for age, text in enumerate(self.events):
            yield 10 + age, _event(text)


@dataclass(frozen=True)
class Bar:
    """A line that is heavy for `share` of its width and light for the rest, so that it reads without colour too."""

    share: float
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heavy, light = ("=", "-") if options.ascii_only else ("━", "─")
        used = round(options.max_width * min(1.0, max(0.0, self.share)))
        yield Text.assemble((heavy * used, self.style), (light * (options.max_width - used), "bright_black"))


def _header(snapshot: Snapshot, width: int) -> Table:
    left = Text.assemble((snapshot.study, "bold"), f"  {snapshot.direction} {snapshot.objective}", no_wrap=True)
    left.overflow = "ellipsis"
    if snapshot.seconds_left is not None:
        right = Text.assemble((format_duration(snapshot.seconds_left), "bold"), " left")
        if width >= ROOMY:
            right.append(f"  ends {time.strftime('%H:%M', time.localtime(time.time() + snapshot.seconds_left))}", "dim")
    else:
        right = Text(f"{format_duration(snapshot.elapsed_seconds)} so far", style="dim")
    rate = snapshot.insight.pace.trials_per_hour if snapshot.insight is not None else None
    if rate is not None and width >= ROOMY:
        right.append(f"  {rate:,.0f} trials/h", "dim")
    return _two_sides(left, right)


def _budget(snapshot: Snapshot) -> Bar:
    """How much of the budget is used, of the time or of the trials; an empty bar where neither is limited."""
    total, done = _budget_used(snapshot)
    return Bar(done / total if total > 0 else 0.0, "blue")


def _budget_used(snapshot: Snapshot) -> tuple[float, float]:
    finished = count_finished(snapshot.counts)
    by_time = by_trials = (0.0, 0.0)
    if snapshot.seconds_left is not None:
        by_time = (snapshot.elapsed_seconds + max(0.0, snapshot.seconds_left), snapshot.elapsed_seconds)
    if snapshot.trials_target:
        by_trials = (float(snapshot.trials_target), float(finished))
    # The search stops at whichever end is nearer.
    return max((by_time, by_trials), key=lambda pair: pair[1] / pair[0] if pair[0] else -1.0)


def _counts(snapshot: Snapshot, width: int) -> Table:
    counts = {state: snapshot.counts[state] for state in COUNTS if snapshot.counts[state] or width >= NARROW}
    parts = [
        Text.assemble((str(count), f"bold {STYLES[state]}" if count else "dim"), (f" {state}", "" if count else "dim"))
        for state, count in counts.items()
    ]
    finished = count_finished(snapshot.counts)
    target = Text(f"{finished}/{snapshot.trials_target} trials" if snapshot.trials_target else "", style="dim")
    return _two_sides(WrappedPhrases(parts, gap=3 if width >= NARROW else 2), target)


def _away(seconds: float) -> Text:
    text = f"database away for {format_duration(seconds)}; training continues, and results are saved when it is back"
    return Text(text, style="bold yellow")


def _best(snapshot: Snapshot, width: int) -> Text:
    best = snapshot.best
    if best is None:
        none = "none of the complete trials counts" if snapshot.counts.get("complete") else "no complete trial yet"
        return Text(f"best  {none}", style="dim")
    line = Text.assemble(("best  ", "dim"), (score(best.value), "bold green"), (f"  trial {best.trial}", "dim"))
    if width >= ROOMY:
        line.append(beside(snapshot), "dim")
    return line


def _slots(slots: Sequence[SlotView], rows: int, width: int) -> Table:
    """A table of at most `rows` lines, but at least one. Slots that get no line are counted."""
    wide = width >= NARROW
    titles = ["device", "trial", "", "epoch", "score", "time"] if wide else ["device", "trial", "epoch", "score"]
    table = Table.grid(padding=(0, 2 if wide else 1), expand=wide)
    for title in titles:
        table.add_column(
            no_wrap=True, justify="left" if title in ("device", "") else "right", ratio=None if title else 1
        )
    outer = Table.grid(expand=True)
    shown = slots if len(slots) < rows else slots[: max(0, rows - 2)]
    if shown:
        table.add_row(*(Text(title if wide or title != "device" else "", style="dim") for title in titles))
    for slot, name in zip(shown, _slot_names(slots), strict=False):
        table.add_row(*_slot(slot, name, wide=wide))
    if shown:
        outer.add_row(table)
    if rest := slots[len(shown) :]:
        training = sum(slot.state == "training" for slot in rest)
        rest_text = (
            f"and {len(rest)} more, {training} of them training" if shown else f"{training} of {len(rest)} training"
        )
        outer.add_row(Text(rest_text, style="dim"))
    return outer


def _slot_names(slots: Sequence[SlotView]) -> list[str]:
    """The device, numbered where several slots share it: `cpu 1`, `cpu 2`."""
    devices = [slot.device for slot in slots]
    return [
        f"{device} {devices[: index + 1].count(device)}" if devices.count(device) > 1 else device
        for index, device in enumerate(devices)
    ]


def _slot(slot: SlotView, name: str, *, wide: bool) -> list[RenderableType]:
    style = _STATE_STYLES.get(slot.state, "")
    if slot.state != "training" or slot.trial is None:
        trial = "" if slot.trial is None else str(slot.trial)
        return [Text(name, style=style), Text(trial, style=style), Text(slot.state, style=style)]
    epoch = Text(slot.epoch_text)
    numbers: list[RenderableType] = [Text(name), Text(str(slot.trial), style="bold")]
    if not wide:
        return [*numbers, epoch, Text(score(slot.score))]
    bar = Bar(slot.epoch / slot.epochs if slot.epochs else 0.0, "cyan")
    return [*numbers, bar, epoch, Text(score(slot.score)), Text(format_duration(slot.seconds), style="dim")]


def _event(text: str) -> Table:
    """When and what: a long text continues below its own first word."""
    when, _, what = text.partition("  ")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(style="dim")
    table.add_row(Text(when), Text(what))
    return table


def _two_sides(left: RenderableType, right: Text) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(left, right)
    return table
