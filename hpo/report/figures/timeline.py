"""What each worker did when: one lane for each trial that it trained at the same time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas
import plotly.graph_objects as go

from hpo.report.data import ReportData
from hpo.report.figures.marks import sampled
from hpo.report.plot import Drawing, NotDrawable
from hpo.report.theme import COLOURS, label

__all__ = ["timeline"]

BARS = 2000
NARROWEST = 700
"""Bars have at least this share of the axis: about a pixel and a half on a page of usual width."""


def timeline(data: ReportData) -> Drawing:
    rows = _spans(data)
    if rows.empty:
        raise NotDrawable("No trial has started yet.")
    rows = rows.assign(lane=_lanes(rows, _slots(data)))
    drawn, notes = sampled(data, rows, BARS)
    figure = go.Figure()
    for outcome in ("complete", "pruned", "failed", "running"):
        mine = drawn[drawn["state"] == outcome]
        if not mine.empty:
            figure.add_trace(_bars(mine, outcome, (rows["ended"].max() - rows["began"].min()).total_seconds()))
    lanes = sorted({label(lane) for lane in rows["lane"]}, reverse=True)
    figure.update_layout(barmode="overlay", showlegend=True, height=max(190, 130 + 26 * len(lanes)), bargap=0.25)
    figure.update_xaxes(type="date", title_text="time (UTC)")
    figure.update_yaxes(categoryorder="array", categoryarray=lanes, ticks="")
    return Drawing([figure], notes)


def _spans(data: ReportData) -> pandas.DataFrame:
    """Trials that a worker trains or trained, with `began` and `ended` (UTC) and `place` (host and device)."""
    rows = data.trials
    rows = rows[rows["started"].notna() & (rows["state"] != "waiting")]
    in_hand = _in_hand(data)
    places = [_place(row, in_hand) for _, row in rows.iterrows()]
    rows = rows.assign(place=places)
    # hpo's coordinators prefetch trials: one that no slot has begun is not being trained yet.
    asked_ahead = (rows["state"] == "running") & ~rows["number"].isin(in_hand) & bool(data.view.workers)
    rows = rows[~asked_ahead]
    now = pandas.Timestamp(data.made_at)
    ended = pandas.to_datetime(rows["finished"], utc=True).fillna(now)
    # For the same reason a trial begins when its trainer began, not when it was asked for.
    recorded = rows["seconds"].notna() & rows["finished"].notna()
    trained = ended - pandas.to_timedelta(rows["seconds"].where(recorded, 0.0), unit="s")
    began = rows["started"].where(~recorded, trained)
    return rows.assign(began=began.where(began >= rows["started"], rows["started"]), ended=ended)


def _in_hand(data: ReportData) -> dict[int, str]:
    """Running trials by number, with the place that trains each."""
    found = {}
    for worker in data.view.workers:
        for slot in worker.slots if isinstance(worker.slots, list) else []:
            if isinstance(slot, dict) and isinstance(slot.get("trial"), int):
                found[slot["trial"]] = f"{worker.host} · {slot.get('device', '')}"
    return found


def _place(row: pandas.Series[Any], in_hand: dict[int, str]) -> str:
    parts = [str(row[name]) for name in ("host", "device") if name in row and isinstance(row[name], str)]
    return " · ".join(parts) or in_hand.get(row["number"], "trials")


def _slots(data: ReportData) -> Counter[str]:
    """How many trials a place can train at once, if its coordinator recorded that."""
    slots: Counter[str] = Counter()
    for worker in data.view.workers:
        if isinstance(worker.slots, list):
            mine = Counter(
                f"{worker.host} · {slot.get('device', '')}" for slot in worker.slots if isinstance(slot, dict)
            )
            slots |= mine  # one coordinator after another used the same slots
    return slots


def _lanes(rows: pandas.DataFrame, slots: Counter[str]) -> list[str]:
    """`host · cpu · 1`, `host · cpu · 2`: as many lanes for a place as it ever trained trials at once."""
    busy: dict[str, list[pandas.Timestamp]] = {}
    taken: dict[Any, tuple[str, int]] = {}
    for row in rows.sort_values("began", kind="stable")[["place", "began", "ended"]].itertuples():
        until = busy.setdefault(row.place, [])
        lane = next((lane for lane, moment in enumerate(until) if moment <= row.began), len(until))
        if lane == len(until) and 0 < slots[row.place] <= lane:
            # Ends are recorded in batches and a little late, so there may be no more lanes than slots.
            lane = until.index(min(until))
        until[lane : lane + 1] = [row.ended]
        taken[row.Index] = (row.place, lane)
    lanes = (taken[index] for index in rows.index)
    return [f"{place} · {lane + 1}" if len(busy[place]) > 1 else place for place, lane in lanes]


def _bars(rows: pandas.DataFrame, outcome: str, span: float) -> Any:
    """Bars of one outcome on an axis of `span` seconds.

    A bar of a pixel or two, or one that is mostly its white edge, would look paler than its colour in the key.
    """
    seconds = (rows["ended"] - rows["began"]).dt.total_seconds()
    edges = [0.6 if each > 6 * span / NARROWEST else 0.0 for each in seconds]
    return go.Bar(
        y=[label(lane) for lane in rows["lane"]],
        base=[moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] for moment in rows["began"]],
        x=[
            max(1.0, round(1000.0 * max(each, span / NARROWEST))) for each in seconds
        ],  # milliseconds, as plotly counts on a date axis
        orientation="h",
        name=outcome,
        marker={"color": COLOURS[outcome], "line": {"width": edges, "color": "#ffffff"}},
        customdata=[[number, f"{each:,.1f}"] for number, each in zip(rows["number"], seconds, strict=True)],
        hovertemplate="trial %{customdata[0]}: %{customdata[1]} s<extra>" + outcome + "</extra>",
    )
