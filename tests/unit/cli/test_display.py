"""The live picture and the plain lines, on made-up snapshots."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from queue import Queue

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import create_trial
from rich.console import Console

from hpo import Objective, Study
from hpo.cli.captured import LINE_BYTES
from hpo.cli.captured import LINES_AT_ONCE as OUTPUT_AT_ONCE
from hpo.cli.live_findings import sparkline
from hpo.cli.live_view import live_view
from hpo.cli.log_lines import LINES_AT_ONCE, JsonLines, PlainLines, progress_text
from hpo.cli.resizing import resizing_live
from hpo.cli.summary import emit_summary
from hpo.cli.watching import LiveDisplay, watcher
from hpo.duration import format_short
from hpo.errors import UsageError
from hpo.insight import Insight, insight_of
from hpo.result import Result
from hpo.results.reading import StudyView
from hpo.trainers.snapshot import Best, SlotView, Snapshot
from hpo.wording import grouped, params_text, score

PARAMS = {"layers": 2, "hidden_units_0": 977, "hidden_units_1": 878, "lr": 4.9641234e-05}
SNAPSHOT = Snapshot(
    study="mlp_mnist",
    objective="val_accuracy",
    direction="maximize",
    counts={"complete": 12, "pruned": 31, "failed": 1, "running": 2, "waiting": 0},
    best=Best(17, 0.98125, PARAMS),
    seconds_left=3725.0,
    trials_target=None,
    elapsed_seconds=600.0,
    slots=(
        SlotView("cpu", "training", 43, 4, 20, 0.97, 8.0),
        SlotView("cpu", "starting"),
    ),
)


def drawn(snapshot: Snapshot, *, width: int = 80, height: int = 30, events: tuple[str, ...] = ()) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(live_view(snapshot, events, height=height))
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_picture_says_what_matters_and_fits(width: int) -> None:
    lines = drawn(SNAPSHOT, width=width, events=("12:00:00  trial 42 pruned after 3 epochs",))
    text = " ".join("\n".join(lines).replace("\xa0", " ").split())
    for part in (
        "mlp_mnist",
        "maximize val_accuracy",
        "1h 02m left",
        "12 complete",
        "31 pruned",
        "0.98125",
        "trial 17",
    ):
        assert part in text
    for part in ("hidden_units 977, 878", "lr 4.964e-05", "cpu 1", "43", "4/20", "0.97000", "cpu 2", "starting"):
        assert part in text
    assert "trial 42 pruned" in text
    assert max(len(line) for line in lines) <= width


def test_the_used_part_of_a_bar_is_another_sign_than_the_rest() -> None:
    """Without colour they would be one line."""
    budget = drawn(replace(SNAPSHOT, elapsed_seconds=3725.0))[1].strip()
    assert budget.count("━") == budget.count("─") == 39


def test_at_60_columns_a_log_line_keeps_its_number() -> None:
    lines = drawn(SNAPSHOT, width=60, events=("12:00:00  trial 44 complete after 5 epochs: val_accuracy 0.93728",))
    assert "0.93728" in "".join(lines)


@pytest.mark.parametrize(("width", "height"), [(30, 7), (30, 12), (60, 9), (80, 10), (40, 16)])
def test_what_matters_least_gives_way_on_a_small_terminal(width: int, height: int) -> None:
    """The best and the slots stay; nothing that is drawn is cut."""
    events = tuple(f"12:00:0{second}  trial {second} pruned after 3 epochs: val_accuracy 0.9" for second in range(4))
    lines = drawn(SNAPSHOT, width=width, height=height, events=events)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width - 2
    assert any("best  0.98125  trial 17" in line for line in lines)
    assert any("cpu 1" in line or "1 of 2 training" in line for line in lines)


def test_without_colour_there_is_a_picture_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR says nothing about more than colour."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(watcher(quiet=False), LiveDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(watcher(quiet=False), PlainLines)


def test_a_line_of_the_log_is_never_above_an_older_picture() -> None:
    """It appears with the next snapshot, whose counts know of it."""
    display = LiveDisplay()
    display.snapshot(SNAPSHOT)
    display.notice("trial 99 complete")
    assert "trial 99" not in rendered(display)
    display.snapshot(SNAPSHOT)
    assert "trial 99 complete" in rendered(display)


def rendered(display: LiveDisplay) -> str:
    console = Console(file=io.StringIO(), width=100, height=30)
    with console.capture() as capture:
        console.print(display.render())
    return capture.get()


def test_more_slots_than_rows_are_counted() -> None:
    slots = tuple(SlotView(f"cuda:{index}", "training", index, 1, 20, 0.9, 1.0) for index in range(64))
    lines = drawn(replace(SNAPSHOT, slots=slots), height=24)
    assert len(lines) <= 24
    assert any("more, " in line and "of them training" in line for line in lines)


def test_an_absent_database_is_shown() -> None:
    assert "database away for 1m 15s" in "\n".join(drawn(replace(SNAPSHOT, database_away_seconds=75.0)))


@pytest.mark.parametrize(
    "changes",
    [
        {"best": None},
        {"seconds_left": None},
        {"seconds_left": 0.0, "elapsed_seconds": 0.0},
        {"trials_target": 30},
        {"seconds_left": None, "trials_target": 30},
        {"slots": ()},
        {"best": Best(1, math.nan, {})},
    ],
)
def test_every_state_can_be_drawn(changes: dict[str, object]) -> None:
    assert drawn(replace(SNAPSHOT, **changes))  # type: ignore[arg-type]


class Recorder:
    """Plain lines with a clock of the test's own."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.plain = PlainLines(
            quiet=quiet, verbose=verbose, place="in .hpo", clock=lambda: self.now, write=self.lines.append
        )


def test_plain_lines_hold_back_a_flood_and_own_up_to_it() -> None:
    recorder = Recorder()
    for number in range(100):
        recorder.plain.notice(f"trial {number} pruned after 2 epochs")
    assert len(recorder.lines) == LINES_AT_ONCE
    recorder.now = 60.0
    recorder.plain.notice("trial 100 pruned after 2 epochs")
    assert recorder.lines[-2:] == ["(80 more trials ended)", "trial 100 pruned after 2 epochs"]


def test_what_takes_long_at_the_start_has_a_line_while_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start of two minutes said nothing at all; one that fails at once needs no line above its error."""
    said: Queue[str] = Queue()
    with PlainLines(write=said.put) as plain:
        plain.phase("starting the database")
    with PlainLines(write=said.put, quiet=True) as plain:
        plain.phase("starting the database")
    monkeypatch.setattr("hpo.cli.log_lines.PHASE_SECONDS", 0.0)
    with PlainLines(write=said.put) as plain:
        plain.phase("loading torch")
        assert said.get(timeout=60) == "loading torch"
    assert said.empty()


def test_a_new_best_and_trouble_are_never_held_back() -> None:
    recorder = Recorder()
    for number in range(50):
        recorder.plain.notice(f"trial {number} pruned after 2 epochs")
    for text in (
        "best so far: trial 3",
        "trial 9 failed: ValueError",
        "database away: refused",
        "trainer on cpu ended",
    ):
        recorder.plain.notice(text)
        assert recorder.lines[-1] == text


def test_quiet_keeps_bests_and_trouble() -> None:
    recorder = Recorder(quiet=True)
    recorder.plain.notice("trial 1 complete after 2 epochs")
    recorder.plain.notice("best so far: trial 1")
    recorder.now = 1000.0
    recorder.plain.snapshot(SNAPSHOT)
    assert recorder.lines == ["best so far: trial 1"]


def test_a_long_silence_is_broken_by_the_counts() -> None:
    """And so is a minute with other lines: how far each trial is, they do not say."""
    recorder = Recorder()
    recorder.plain.snapshot(SNAPSHOT)
    assert recorder.lines == ["mlp_mnist: maximize val_accuracy for 1h 02m, on 2 x cpu; database in .hpo"]
    recorder.now = 59.0
    recorder.plain.snapshot(SNAPSHOT)
    recorder.plain.notice("trial 1 complete after 2 epochs")
    assert len(recorder.lines) == 2
    recorder.now = 61.0
    recorder.plain.snapshot(SNAPSHOT)
    assert len(recorder.lines) == 3
    assert "12 complete, 31 pruned, 1 failed, 2 running" in recorder.lines[2]
    assert "best 0.98125 (trial 17)" in recorder.lines[2]
    assert "cpu trial 43 epoch 4/20 0.97000" in recorder.lines[2]
    with recorder.plain:
        pass
    assert recorder.lines[3] == recorder.lines[2]  # the last word says where it stands


def test_verbose_holds_nothing_back_and_says_what_it_does_first() -> None:
    recorder = Recorder(verbose=True)
    recorder.plain.phase("loading torch")
    recorder.plain.snapshot(SNAPSHOT)
    for number in range(100):
        recorder.plain.notice(f"trial {number} pruned after 2 epochs")
    recorder.now = 10.0
    recorder.plain.snapshot(SNAPSHOT)
    assert len(recorder.lines) == 103
    assert recorder.lines[0] == "loading torch"
    with pytest.raises(UsageError, match="contradict"):
        watcher(quiet=True, verbose=True)


def test_a_line_without_a_terminal_has_the_time_in_front(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines().notice("best so far: trial 1")
    assert re.fullmatch(r"\d\d:\d\d:\d\d  best so far: trial 1\n", capsys.readouterr().err)


def test_every_line_of_the_json_log_is_an_object_of_its_own() -> None:
    lines: list[str] = []
    now = [0.0]
    with JsonLines(place="in .hpo", clock=lambda: now[0], write=lines.append) as log:
        log.phase("loading torch")
        log.snapshot(SNAPSHOT)
        log.notice("trial 1 failed: \x1b[2J\nboom")
        log.snapshot(replace(SNAPSHOT, best=Best(1, math.inf, {})))
        now[0] = 60.0
        log.snapshot(replace(SNAPSHOT, best=Best(1, math.inf, {})))
    found = [json.loads(line) for line in lines]
    assert [one["event"] for one in found] == ["phase", "start", "notice", "progress", "progress"]
    assert found[1]["database"] == "in .hpo"
    assert found[1]["counts"]["pruned"] == 31
    assert found[3]["best"]["value"] == "Infinity"
    assert all(datetime.fromisoformat(one["time"]).tzinfo for one in found)
    assert all("\n" not in line and "\x1b" not in line for line in lines)


def test_what_trials_print_is_part_of_the_json_log_within_bounds(capfd: pytest.CaptureFixture[str]) -> None:
    """As a process would that a trial starts: by descriptor. A gigabyte of it takes what these 2 MB take."""
    with JsonLines(place="in .hpo") as log:
        log.notice("trial 1 complete after 2 epochs")
        os.write(2, b"a progress bar\rof \xff bytes\n" + b"y" * 100_000 + b"\n")
        for _ in range(2):
            os.write(2, b"x\n" * 500_000)
        os.write(2, b"without an end")
    print("the end", file=sys.stderr)
    *lines, last = capfd.readouterr().err.splitlines()
    assert last == "the end"
    found = [json.loads(line) for line in lines]
    said = [one for one in found if one["event"] == "output"]
    shown = [one["message"] for one in said if "message" in one]
    assert any(one["event"] == "notice" for one in found)
    assert shown[0].startswith("a progress bar")
    assert len(shown[1]) <= LINE_BYTES
    assert OUTPUT_AT_ONCE <= len(shown) < 2 * OUTPUT_AT_ONCE
    assert len(shown) + sum(one.get("left_out", 0) for one in said) == 1_000_003


def test_a_quiet_json_log_has_bests_and_trouble_alone() -> None:
    lines: list[str] = []
    with JsonLines(quiet=True, write=lines.append) as log:
        log.phase("loading torch")
        log.snapshot(SNAPSHOT)
        log.notice("trial 1 complete after 2 epochs")
        log.notice("best so far: trial 1")
    assert [json.loads(line)["message"] for line in lines] == ["best so far: trial 1"]


def test_the_first_seconds_say_what_is_done_and_for_how_long() -> None:
    display = LiveDisplay()
    assert "starting" in rendered(display)
    display.phase("starting the database")
    display.phase("loading torch")
    display.notice("the tables were migrated")
    lines = [" ".join(line.split()) for line in rendered(display).splitlines()]
    assert lines[0] == "starting the database 0s"
    assert lines[1] == "loading torch 0s"
    assert "the tables were migrated" in lines[2]


def test_a_training_of_ones_own_counts_its_epochs_without_a_last_one() -> None:
    """Nobody but the user's code knows how many there will be; it stood at 4/0."""
    slot = SlotView("cpu", "training", 43, 4, 0, 0.97, 8.0)
    shown = " ".join(" ".join(drawn(replace(SNAPSHOT, slots=(slot,)))).split())
    assert "4 0.97" in shown
    assert "4/0" not in shown
    assert "trial 43 epoch 4 0.97000" in progress_text(replace(SNAPSHOT, slots=(slot,)))


def test_a_picture_that_cannot_be_drawn_says_why_and_ends_nothing() -> None:
    """Its error would come out of the end of the run, in place of what was found."""
    drawn_on = Console(file=io.StringIO(), width=100, height=30, force_terminal=True, color_system=None)
    live = resizing_live(drawn_on, lambda: live_view(replace(SNAPSHOT, counts={})))
    live.start()
    live.refresh()
    shown = " ".join(drawn_on.file.getvalue().split())  # type: ignore[attr-defined]
    live.stop()
    assert "the picture of this run cannot be drawn: KeyError: 'complete' (" in shown


def test_the_end_of_a_run_is_told_where_an_answer_cannot_be_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search is over, and its best is what counts."""
    monkeypatch.setattr("hpo.insight.insight_of", lambda view: 1 / 0)
    study = Study(name="s", objective=Objective("train:objective", direction="maximize"))
    counts = {"complete": 1, "pruned": 0, "failed": 0, "running": 0, "waiting": 0}
    result = Result("s", "trials", Best(0, 0.75, {}), counts, (create_trial(value=0.75),))
    emit_summary(result, study, reference="s", name="s", storage="postgresql://127.0.0.1:1/x")
    shown = " ".join(capsys.readouterr().out.split())
    assert "0.75" in shown
    assert "verdict not known: ZeroDivisionError: division by zero" in shown


def test_a_run_whose_time_was_over_before_a_trial_says_what_took_it(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"complete": 0, "pruned": 0, "failed": 0, "running": 0, "waiting": 1}
    study = Study(name="s", objective=Objective("train:objective", direction="maximize"))
    emit_summary(Result("s", "deadline", None, counts, ()), study, reference="s", name="s", storage=None)
    shown = " ".join(capsys.readouterr().out.split())
    assert "hint starting took all of the time: run it again with a larger --timeout" in shown


def insight(trials: int = 60) -> Insight:
    """Of a search in which x decides and the best lie at its low end."""
    made = []
    for number in range(trials):
        x = 2 + ((number * 37 + 90) % 100) ** 2 // 102
        trial = create_trial(value=1 - x / 200, params={"x": x}, distributions={"x": IntDistribution(2, 100)})
        trial.number = number
        trial.datetime_complete = datetime.now() - timedelta(minutes=trials - number)
        trial.user_attrs = {"seed": 1, **({"origin": "baseline"} if number == 0 else {})}
        made.append(trial)
    return insight_of(StudyView("s", ("maximize",), tuple(made), {}, objectives=("val_accuracy",)))


def test_the_picture_says_how_fast_how_far_ahead_and_what_mattered() -> None:
    found = replace(SNAPSHOT, insight=insight(), best=Best(27, 0.99, {"x": 2}))
    text = " ".join(" ".join(drawn(found, width=110)).split())
    for part in (
        "60 trials/h",
        "ends ",
        "vs baseline",
        "last gain",
        "matters x ",
        "small, ",
        "way up ▁",
        "hint the best x",
    ):
        assert part in text, part
    narrow = " ".join(drawn(found, width=60, height=12))
    assert "trials/h" not in narrow
    assert "cpu 1" in narrow


def test_a_best_that_is_newer_than_the_answers_stands_in_all_of_the_picture() -> None:
    """The picture said that the best so far was older than the one above it."""
    found = insight()
    text = " ".join(
        " ".join(drawn(replace(SNAPSHOT, insight=found, best=Best(61, 0.995, {"x": 2})), width=110)).split()
    )
    assert "best 0.99500 trial 61" in text
    assert "last gain just now" in text
    assert f"to 0.99500 in {len(found.pace.gains)} gains" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 110])
@pytest.mark.parametrize("height", [6, 10, 15, 24])
def test_the_picture_with_findings_fits_everywhere(width: int, height: int) -> None:
    lines = drawn(replace(SNAPSHOT, insight=insight(), best=Best(27, 0.99, {"x": 2})), width=width, height=height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width


def test_the_way_up_is_drawn_from_lowest_to_highest() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert len(sparkline([float(n) for n in range(100)])) == 24


def test_numbers_read_well() -> None:
    assert [score(value) for value in (0.98125, 0.0, 12.5, 1234567.0, 1e-6, math.nan, None)] == [
        "0.98125", "0.00000", "12.50000", "1.2346e+06", "1e-06", "nan", "-",
    ]  # fmt: skip
    assert [format_short(value) for value in (0.04, 3.21, 12.4, 245.0, 5400.0)] == [
        "0.0s",
        "3.2s",
        "12s",
        "4m 05s",
        "1h 30m",
    ]


def test_layers_are_gathered_and_other_names_left_alone() -> None:
    assert grouped(PARAMS) == {"layers": 2, "hidden_units": [977, 878], "lr": 4.9641234e-05}
    assert grouped({"beta_1": 0.9, "beta_2": 0.99}) == {"beta_1": 0.9, "beta_2": 0.99}
    assert params_text({"a": True, "b": None}) == "a True · b None"


def test_a_choice_that_is_a_list_is_shown_as_one() -> None:
    """`[3]` was shown as 3, which is another choice."""
    params = {"kernel": [3], "sizes": [3, 5], "of": {"a": 1}, "stride_0": [1], "stride_1": [1, 2]}
    assert params_text(params) == 'kernel [3] · sizes [3, 5] · of {"a": 1} · stride [1], [1, 2]'
