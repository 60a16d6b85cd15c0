"""A Snapshot as rich draws it. Pure: the same snapshot gives the same picture."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.cli.entries import Entries
from hpo.cli.wording import COUNTS, STYLES, score
from hpo.coordinator.snapshot import SlotView, Snapshot
from hpo.duration import format_duration

__all__ = ["picture"]

WIDEST = 110
"""On a wider terminal the right-hand column would be too far from what it belongs to."""

FRAME_ROWS = 13
"""Lines of the picture that are not slots or events."""

_STATE_STYLES = {"training": "", "idle": "dim", "starting": "dim", "restarting": "yellow", "quarantined": "red"}


def picture(snapshot: Snapshot, events: Sequence[str] = (), *, height: int = 40) -> RenderableType:
    """Header, budget, counts, best, one line per slot, the last events. Slots beyond `height` rows are counted."""
    parts: list[RenderableType] = [_header(snapshot), _budget(snapshot), _counts(snapshot)]
    if snapshot.database_away_seconds > 0:
        parts.append(_away(snapshot.database_away_seconds))
    parts += [Text(), _best(snapshot)]
    if snapshot.slots:
        parts += [Text(), *_slots(snapshot.slots, max(1, height - FRAME_ROWS - len(events)))]
    if events:
        parts += [Text(), *(_event(text) for text in events)]
    return Constrain(Group(*parts), WIDEST)


def _header(snapshot: Snapshot) -> Table:
    left = Text.assemble((snapshot.study, "bold"), f"  {snapshot.direction} {snapshot.objective}")
    if snapshot.seconds_left is not None:
        right = Text.assemble((format_duration(snapshot.seconds_left), "bold"), " left")
    else:
        right = Text(f"{format_duration(snapshot.elapsed_seconds)} so far", style="dim")
    return _two_sides(left, right)


def _budget(snapshot: Snapshot) -> RenderableType:
    """How much of the budget is used: of the time, else of the trials, else nothing to measure."""
    total, done = _budget_used(snapshot)
    if total <= 0:
        return Text("─" * 400, style="bright_black", no_wrap=True, overflow="crop")
    bar = Table.grid(expand=True)  # a bare bar ends without a line break
    bar.add_row(ProgressBar(total=total, completed=min(done, total), style="bright_black", complete_style="blue"))
    return bar


def _budget_used(snapshot: Snapshot) -> tuple[float, float]:
    finished = sum(snapshot.counts[state] for state in ("complete", "pruned", "failed"))
    by_time = by_trials = (0.0, 0.0)
    if snapshot.seconds_left is not None:
        by_time = (snapshot.elapsed_seconds + max(0.0, snapshot.seconds_left), snapshot.elapsed_seconds)
    if snapshot.trials_target:
        by_trials = (float(snapshot.trials_target), float(finished))
    # Whichever budget is nearer to its end is the one that will stop the search.
    return max((by_time, by_trials), key=lambda pair: pair[1] / pair[0] if pair[0] else -1.0)


def _counts(snapshot: Snapshot) -> Table:
    parts: list[str | tuple[str, str]] = []
    for state in COUNTS:
        count = snapshot.counts[state]
        parts += [(str(count), f"bold {STYLES[state]}" if count else "dim"), (f" {state}   ", "" if count else "dim")]
    finished = sum(snapshot.counts[state] for state in ("complete", "pruned", "failed"))
    target = Text(f"{finished}/{snapshot.trials_target} trials" if snapshot.trials_target else "", style="dim")
    return _two_sides(Text.assemble(*parts), target)


def _away(seconds: float) -> Text:
    text = f"database away for {format_duration(seconds)}; training goes on, results are kept here until it is back"
    return Text(text, style="bold yellow")


def _best(snapshot: Snapshot) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    if snapshot.best is None:
        table.add_row(Text("best", style="dim"), Text("no finished trial yet", style="dim"))
        return table
    table.add_row(
        Text("best", style="dim"),
        Text.assemble((score(snapshot.best.value), "bold green"), (f"  trial {snapshot.best.trial}", "dim")),
    )
    table.add_row("", Entries(snapshot.best.params))
    return table


def _slots(slots: Sequence[SlotView], rows: int) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(title, style="dim") for title in ("device", "trial", "", "epoch", "score", "time")))
    shown = slots if len(slots) <= rows else slots[: rows - 1]
    for slot, name in zip(shown, _slot_names(slots), strict=False):
        table.add_row(*_slot(slot, name))
    if len(shown) == len(slots):
        return [table]
    rest = slots[len(shown) :]
    training = sum(slot.state == "training" for slot in rest)
    return [table, Text(f"and {len(rest)} more, {training} of them training", style="dim")]


def _slot_names(slots: Sequence[SlotView]) -> list[str]:
    """The device, numbered where several slots share it: `cpu 1`, `cpu 2`."""
    devices = [slot.device for slot in slots]
    return [
        f"{device} {devices[: index + 1].count(device)}" if devices.count(device) > 1 else device
        for index, device in enumerate(devices)
    ]


def _slot(slot: SlotView, name: str) -> tuple[RenderableType, ...]:
    style = _STATE_STYLES.get(slot.state, "")
    if slot.state != "training" or slot.trial is None:
        trial = "" if slot.trial is None else str(slot.trial)
        return Text(name, style=style), Text(trial, style=style), Text(slot.state, style=style)
    bar = ProgressBar(total=max(1, slot.epochs), completed=slot.epoch, style="bright_black", complete_style="cyan")
    return (
        Text(name),
        Text(str(slot.trial), style="bold"),
        bar,
        Text(f"{slot.epoch}/{slot.epochs}"),
        Text(score(slot.score)),
        Text(format_duration(slot.seconds), style="dim"),
    )


def _event(text: str) -> Text:
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def _two_sides(left: Text, right: Text) -> Table:
    table = Table.grid(expand=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(left, right)
    return table
