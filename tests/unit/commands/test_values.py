"""Metrics in what a program writes: whatever comes, the numbers that mean something are found, and nothing breaks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from hpo.commands import history
from hpo.commands.history import History
from hpo.commands.lines import LONGEST, Lines
from hpo.commands.memory import ran_out_of_memory, sign_of
from hpo.commands.output import HEAD_BYTES, MOST_BYTES, TAIL_BYTES, Output
from hpo.commands.program import how_it_ended
from hpo.commands.values import MOST_NAMES, Values, json_records, pattern_records
from hpo.own_metrics import MOST_METRICS


@pytest.mark.parametrize(
    ("line", "records"),
    [
        ('{"epoch": 3, "val_loss": 0.25}', [{"epoch": 3.0, "val_loss": 0.25}]),
        (
            '{"epoch": 1, "val_loss": 1}{"epoch": 2, "val_loss": 2}',
            [{"epoch": 1, "val_loss": 1}, {"epoch": 2, "val_loss": 2}],
        ),
        ('  {"a": "0.5", "b": "low", "c": true, "d": [1], "e": {"f": 1}}  ', [{"a": 0.5}]),
        ('{"a": Infinity, "b": -Infinity}', [{"a": math.inf, "b": -math.inf}]),
        ('{"a": 1' + "0" * 400 + "}", [{}]),
        ("", []),
        ("epoch 3", []),
        ("[1, 2]", []),
        ("3", []),
        ('{"a": 1', []),
        ("[" * 100_000, []),
        ('{"a": 1} and more', [{"a": 1.0}]),
    ],
)
def test_the_numbers_of_a_line_are_found(line: str, records: Any) -> None:
    assert list(json_records(line)) == records


def test_what_json_cannot_say_is_not_a_number() -> None:
    for text in ('{"a": NaN}', '{"a": null}', '{"a": "nan"}'):
        assert [math.isnan(record["a"]) for record in json_records(text)] == [True]


def test_patterns_find_named_groups() -> None:
    patterns = [re.compile(r"^epoch (?P<epoch>\d+)"), re.compile(r"loss (?P<val_loss>\S+?)(,|$)( acc (?P<acc>\S+))?")]
    assert list(pattern_records(patterns, "epoch 3: loss 0.5, acc 0.9")) == [
        {"epoch": 3},
        {"val_loss": 0.5, "acc": 0.9},
    ]
    assert list(pattern_records(patterns, "loss n/a")) == [{}]


def values(**fields: Any) -> Values:
    return Values(**{"objectives": ("val_loss",), **fields})


def test_a_report_is_numbered_by_its_epoch_or_step_or_place() -> None:
    found = values()
    lines: list[tuple[dict[str, float], Any]] = [
        ({"epoch": 3, "step": 300, "val_loss": 1.0}, (3, {"val_loss": 1.0})),
        ({"val_loss": 2.0}, (4, {"val_loss": 2.0})),
        ({"epoch": 4.5, "step": 7, "val_loss": 3.0}, (7, {"val_loss": 3.0})),
        ({"epoch": -1, "val_loss": 4.0}, (8, {"val_loss": 4.0})),
        ({"step": math.nan, "val_loss": 5.0}, (9, {"val_loss": 5.0})),
        ({"step": math.inf, "val_loss": 6.0}, (10, {"val_loss": 6.0})),
        ({"step": 2.0**31, "val_loss": 7.0}, (11, {"val_loss": 7.0})),
        ({"epoch": 11, "val_loss": 8.0}, None),
    ]
    for record, report in lines:
        assert found.take(record) == report
    assert found.result(best=False) == {"val_loss": 7.0}


def test_what_is_known_of_a_step_comes_together() -> None:
    """Lines of one epoch, a number on a line before, a metric before its epoch's objective."""
    found = values()
    assert found.take({"epoch": 1, "train_loss": 9.0}) == (1, {"train_loss": 9.0})
    assert found.take({"epoch": 1, "val_loss": 8.0}) == (1, {"train_loss": 9.0, "val_loss": 8.0})
    assert found.take({"epoch": 5}) is None
    assert found.take({"acc": 0.5}) == (5, {"acc": 0.5})
    assert found.take({"val_loss": 7.0}) == (5, {"acc": 0.5, "val_loss": 7.0})
    assert found.take({"acc": 0.6}) is None
    assert found.take({"val_loss": 6.0}) == (6, {"acc": 0.6, "val_loss": 6.0})
    assert found.take({"epoch": 9, "train_loss": 5.0}) == (9, {"train_loss": 5.0})
    assert found.take({"val_loss": 4.0}) == (9, {"train_loss": 5.0, "val_loss": 4.0})
    assert found.take({}) is None
    many = {f"m{number}": 1.0 for number in range(1000)}
    report = found.take({"val_loss": 1.0, "x\n": 2.0, "": 3.0, **many})
    assert report is not None
    assert len(report[1]) == MOST_METRICS
    assert {"val_loss", "m0"} <= report[1].keys()
    assert not {"x\n", ""} & report[1].keys()


def test_the_other_names_are_a_few_that_a_message_can_show() -> None:
    """A key of JSON may be a whole line, or end one."""
    found = values()
    found.take({"x" * 60_000: 1.0, "x\n": 2.0, "epoch": 3.0, "loss": 4.0})
    found.take({f"m{number}": 1.0 for number in range(1000)} | {"val_loss": 5.0, "loss": 6.0})
    assert found.names == ["loss", *(f"m{number}" for number in range(MOST_NAMES - 1))]


def test_what_waits_for_its_step_is_bounded_and_what_was_told_of_a_step_stays() -> None:
    found = values()
    for start in range(0, 1000, 10):
        found.take({f"m{number}": 1.0 for number in range(start, start + 10)})
        assert len(found.waiting) <= MOST_METRICS
    found = values()
    found.take({"epoch": 1, "acc": 0.1})
    assert found.take({"epoch": 1, "acc": 0.2, "val_loss": 1.0}) == (1, {"acc": 0.1, "val_loss": 1.0})


@pytest.mark.parametrize(("maximize", "best"), [(True, 3.0), (False, 1.0)])
def test_the_last_value_counts_or_the_best(maximize: bool, best: float) -> None:
    found = values(maximize=maximize)
    for value in (math.nan, 2.0, 3.0, math.nan, 1.0, 2.5):
        found.take({"val_loss": value})
    assert found.result(best=False) == {"val_loss": 2.5}
    assert found.result(best=True) == {"val_loss": best}


def test_a_step_that_is_trained_again_keeps_its_first_value_and_so_does_the_trial() -> None:
    """An attempt that goes on from an earlier epoch may come to another number for one that was told before."""
    values = Values(("a",), maximize=True)
    assert values.take({"epoch": 1, "a": 0.5}) == (1, {"a": 0.5})
    assert values.take({"epoch": 1, "a": 0.9}) is None
    assert values.result(best=False) == values.result(best=True) == {"a": 0.5}


def test_a_trial_without_a_number_has_none() -> None:
    found = values()
    found.take({"val_loss": math.nan})
    assert [math.isnan(one["val_loss"]) for one in (found.result(best=True) or {}, found.result(best=False) or {})] == [
        True,
        True,
    ]
    assert values().result(best=False) is None


def test_every_objective_has_to_be_there() -> None:
    found = values(objectives=("val_loss", "seconds"))
    found.take({"val_loss": 1.0})
    assert found.result(best=False) is None
    found.take({"seconds": 3.0})
    assert found.result(best=False) == {"val_loss": 1.0, "seconds": 3.0}


def test_the_attempt_that_goes_on_hears_what_was_reported_before(tmp_path: Path) -> None:
    """Also a line that was cut short costs only itself; one that begins anew forgets."""
    path = tmp_path / "3.jsonl"
    History(path, goes_on=True).add([{"epoch": 1.0, "val_loss": 0.5}, {"epoch": 2.0, "val_loss": math.nan}])
    path.write_bytes(path.read_bytes() + b'\n{"epoch": 3.0, "val')
    History(path, goes_on=True).add([{"epoch": 3.0, "val_loss": 0.25}])
    records = History(path, goes_on=True).earlier
    assert [record["epoch"] for record in records] == [1.0, 2.0, 3.0]
    assert math.isnan(records[1]["val_loss"])
    assert History(path, goes_on=False).earlier == History(path, goes_on=True).earlier == []
    (tmp_path / "other").write_text("kept")
    path.symlink_to(tmp_path / "other")
    History(path, goes_on=True).add([{"a": 1.0}])
    assert (tmp_path / "other").read_text() == "kept"
    (tmp_path / "other").write_text('{"a": 1}')
    assert History(path, goes_on=True).earlier == []


def test_a_program_that_reports_without_end_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one attempt keeps counts for the next; a file that is larger still is none of hpo's."""
    monkeypatch.setattr(history, "MOST_BYTES", 100)
    path = tmp_path / "3.jsonl"
    sizes = []
    for _ in range(3):
        kept = History(path, goes_on=True)
        for _ in range(100):
            kept.add([{"val_loss": 0.5}])
        sizes.append(path.stat().st_size)
    assert sizes == [sizes[0]] * 3
    assert sizes[0] < 150
    path.write_bytes(b'\n{"val_loss": 0.5}' * 100)
    assert History(path, goes_on=True).earlier == []


def test_lines_are_found_in_whatever_pieces_they_come() -> None:
    lines = Lines()
    found = [line for byte in b"a\nbb\r\n10%\r20%\r\n\xff\n" for line in lines.feed(bytes([byte]))]
    assert found == ["a", "bb", "10%", "20%", "\ufffd"]
    assert lines.feed(b"rest") == []
    assert lines.last() == ["rest"]


def test_a_line_without_end_takes_no_memory() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"x" * LONGEST) == []
        assert len(lines._rest) <= LONGEST
    assert lines.feed(b"x\nshort\n") == ["short"]
    assert lines.feed(b"y" * (LONGEST + 1) + b"\nshort\n") == ["short"]


def test_output_keeps_its_beginning_and_its_end(tmp_path: Any) -> None:
    output = Output(tmp_path / "s" / "1.txt")
    for number in range(200_000):
        output.add(b"%d\n" % number)
    output.write(now=True)
    kept = (tmp_path / "s" / "1.txt").read_bytes()
    assert len(kept) <= MOST_BYTES
    assert kept.startswith(b"0\n1\n")
    assert kept.endswith(b"199999\n")
    assert (
        f"[hpo: {sum(len(str(n)) + 1 for n in range(200_000)) - HEAD_BYTES - TAIL_BYTES} bytes left out]".encode()
        in kept
    )
    assert output.last_lines(2) == ["199998", "199999"]
    again = Output(tmp_path / "s" / "1.txt", "once more")
    again.add(b"end\n")
    again.write(now=True)
    kept = (tmp_path / "s" / "1.txt").read_bytes()
    assert len(kept) <= MOST_BYTES
    assert kept.startswith(b"0\n1\n")
    assert kept.endswith(b"199999\n\n[hpo: once more]\nend\n")


def test_a_program_that_prints_what_hpo_does_goes_on(tmp_path: Path) -> None:
    """A number that Python does not read is none."""
    path = tmp_path / "s" / "1.txt"
    path.parent.mkdir()
    path.write_bytes(b"a\n[hpo: " + b"9" * 5000 + b" bytes left out]\nb")
    assert Output(path, "once more").content.endswith(b"b\n[hpo: once more]\n")


def test_output_is_neither_read_nor_written_where_it_is_not_hpos(tmp_path: Path) -> None:
    """Through a link; a file too large to be one of hpo's; a folder that cannot be made."""
    for name in ("elsewhere", "folder", "file"):
        (tmp_path / name).mkdir() if name != "file" else (tmp_path / name).touch()
    (tmp_path / "elsewhere" / "1.txt").write_text("kept")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder" / "1.txt").write_bytes(b"x" * 10 * MOST_BYTES)
    for name, before in (("linked", "kept"), ("folder", None), ("file", None)):
        output = Output(tmp_path / name / "1.txt", "once more")
        assert b"x" not in output.content
        output.add(b"new")
        output.write(now=True)
        assert before is None or (tmp_path / name / "1.txt").read_text() == before


def test_output_is_written_once_a_second_and_where_something_came_in(tmp_path: Path) -> None:
    path = tmp_path / "s" / "1.txt"
    output = Output(path)
    output.write(now=True)
    assert not path.exists()
    output.add(b"a")
    output.write(now=True)
    output.add(b"b")
    output.write()
    assert path.read_bytes() == b"a"


def test_the_last_lines_are_text_and_what_a_progress_bar_left() -> None:
    output = Output(None)
    output.add(b"\xff\xfe\0binary\n 10%\r 20%\r\n\n  \nlast" + b"x" * 1000)
    assert output.last_lines(5) == ["\ufffd\ufffd\\u0000binary", " 20%", "last" + "x" * 496]


@pytest.mark.parametrize(
    ("code", "line", "kills", "ran_out"),
    [
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", 0, True),
        (1, "MemoryError", 0, True),
        (1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 TiB", 0, True),
        (1, "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", 0, True),
        (134, "terminate called after throwing an instance of 'std::bad_alloc'", 0, True),
        (1, "java.lang.OutOfMemoryError: Java heap space", 0, True),
        (0, "MemoryError", 0, False),
        (1, "MyMemoryErrors", 0, False),
        (-9, "", 1, True),
        (137, "", 1, True),
        (-9, "", 0, False),
        (-15, "", 1, False),
        (1, "ValueError: no", 1, False),
    ],
)
def test_memory_that_ran_out_is_recognised(code: int, line: str, kills: int, ran_out: bool) -> None:
    lines = ["epoch 1", line]
    assert ran_out_of_memory(code, lines, kills) is ran_out
    if ran_out and line:
        assert sign_of(lines) == line


def test_an_end_is_told_in_words() -> None:
    assert [how_it_ended(code) for code in (3, -11, -64, -99)] == [
        "exit code 3",
        "killed by SIGSEGV",
        "killed by SIGRTMAX",
        "killed by signal 99",
    ]
