"""Every mistake of a user: one clear message, the documented exit code, and nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_commands import Command

DECLARATION = """
from hpo import Categorical, Float, Int, Study

study = Study(
    name="mine",
    dataset="digits",
    model="mlp",
    space={{
        "batch_size": Int(8, 64),
        "layers": Int(1, 2),
        "hidden_units": Int(16, 32).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "lr": Float(1e-4, 1e-1, log=True),
        {row}
    }},
    baseline={{"batch_size": 64, "layers": 1, "hidden_units": [32], "optimizer": "adam", "lr": 1e-3}},
)
"""

BAD_ROWS = {
    "impossible range": ('"dropout": Float(0.5, 0.1),', "impossible range"),
    "logarithm of zero": ('"dropout": Float(0.0, 0.1, log=True),', "impossible range"),
    "dangling per": ('"hidden_units": Int(16, 32).per("layer"),', 'did you mean "layers"?'),
    "dangling when": ('"momentum": Float(0.0, 0.9).when(optimiser="sgd"),', 'did you mean "optimizer"?'),
    "when that never holds": ('"momentum": Float(0.0, 0.9).when(optimizer="lion"),', "which never happens"),
    "read by nothing": ('"drop_out": Float(0.0, 0.5),', 'did you mean "dropout"?'),
    "value out of bounds": ('"dropout": Float(0.0, 1.0),', "must be below 1"),
}


def write_study(folder: Path, row: str = "") -> str:
    path = folder / "mine.py"
    path.write_text(DECLARATION.format(row=row), encoding="utf-8")
    return str(path)


def is_clear(text: str) -> bool:
    return text.startswith("error: ") and "Traceback" not in text


def is_untouched(folder: Path, *names: str) -> bool:
    """Nothing in the working folder but what the test itself put there (and Python's cache)."""
    return {path.name for path in folder.iterdir()} - {"__pycache__"} == set(names)


@pytest.mark.parametrize("reference", ["x" * 3000, "x" * 3000 + ".py", "./" + "x" * 3000, "a\0b", "a\0b.py"])
@pytest.mark.parametrize("command", ["check", "run"])
def test_what_no_file_can_be_called_is_an_unknown_study(hpo: Command, command: str, reference: str) -> None:
    """Too long for the file system, or with a zero byte in it."""
    done = hpo(command, "--study", reference)
    assert done.code == 2
    assert is_clear(done.err)


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_password_among_the_words_of_a_command_is_warned_of(hpo: Command, command: str) -> None:
    """The process list shows it to everybody on the machine; the warning and the error do not repeat it."""
    done = hpo(command, "--study", "mlp_digits", "--storage", "postgresql://me:secret@127.0.0.1:1/none")
    assert done.code == 4
    assert "can read the password in --storage; HPO_STORAGE keeps it" in done.err
    assert ":secret@" not in done.err
    assert "can read" not in hpo(command, "--study", "x", "--storage", "postgresql://me@127.0.0.1:1/none").err


@pytest.mark.parametrize("command", ["run", "check", "space", "worker"])
def test_unknown_study_names_the_near_miss(hpo: Command, tmp_path: Path, command: str) -> None:
    done = hpo(command, "--study", "mlp_digitz")
    assert done.code == 2
    assert is_clear(done.err)
    assert 'did you mean "mlp_digits"?' in done.err
    assert done.out == ""
    assert is_untouched(tmp_path)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_refused_before_anything_is_written(hpo: Command, tmp_path: Path, command: str, case: str) -> None:
    row, message = BAD_ROWS[case]
    done = hpo(command, "--study", write_study(tmp_path, row))
    assert done.code == 2
    assert is_clear(done.err)
    assert message in done.err
    assert is_untouched(tmp_path, "mine.py")


def test_a_required_row_that_is_missing(hpo: Command, tmp_path: Path) -> None:
    path = Path(write_study(tmp_path))
    path.write_text(path.read_text().replace('"lr": Float(1e-4, 1e-1, log=True),', "").replace(', "lr": 1e-3', ""))
    done = hpo("check", "--study", str(path))
    assert done.code == 2
    assert 'needs "lr"' in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module_at_all\n", "No module named 'no_such_module_at_all'"),
        ("study = Study(\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("x = 1\n", 'no study called "study"'),
    ],
)
def test_a_file_that_does_not_import_names_its_line(hpo: Command, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "broken.py").write_text(text, encoding="utf-8")
    done = hpo("run", "--study", "./broken.py")
    assert done.code == 2
    assert is_clear(done.err)
    assert message in done.err
    assert is_untouched(tmp_path, "broken.py")


def test_a_missing_file(hpo: Command) -> None:
    done = hpo("run", "--study", "./nowhere.py")
    assert done.code == 2
    assert "no study file nowhere.py" in done.err


@pytest.mark.parametrize("timeout", ["banana", "", "0", "-5m", "3x", "5m3h", "nan", "inf", "1e9", "99999h", "٣h"])
def test_timeout_nonsense(hpo: Command, tmp_path: Path, timeout: str) -> None:
    done = hpo("run", "--study", "mlp_digits", f"--timeout={timeout}")
    assert done.code == 2
    assert is_clear(done.err)
    assert "as a duration" in done.err
    assert "1h30m" in done.err
    assert is_untouched(tmp_path)


def test_a_budget_of_the_environment_is_read_where_the_words_name_none(
    hpo: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one, as compose files write it, is none."""
    monkeypatch.setenv("HPO_TIMEOUT", "banana")
    assert "as a duration" in hpo("run", "--study", "mlp_digits").err
    assert "unknown study" in hpo("run", "--study", "mlp_digitz", "--timeout", "1m").err
    monkeypatch.setenv("HPO_TIMEOUT", "")
    monkeypatch.setenv("HPO_TRIALS", "many")
    assert "HPO_TRIALS" in hpo("run", "--study", "mlp_digits").err
    monkeypatch.setenv("HPO_TRIALS", "")
    assert "unknown study" in hpo("run", "--study", "mlp_digitz").err


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "--study", "mlp_digits", "--trials", "0"],
        ["run", "--study", "mlp_digits", "--trials", "many"],
        ["run", "--study", "mlp_digits", "--device", "tpu"],
        ["run", "--study", "mlp_digits", "--trainers", "0"],
        ["run", "--study", "mlp_digits", "--subset", "3"],
        ["run", "--study", "mlp_digits", "--name", "../escape"],
        ["run", "--no-such-option"],
        ["runn"],
        ["dashboard", "--port", "70000"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense(hpo: Command, tmp_path: Path, words: list[str]) -> None:
    done = hpo(*words)
    assert done.code == 2
    assert is_clear(done.err)
    assert is_untouched(tmp_path)


def test_a_gpu_that_is_not_there(hpo: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = hpo("run", "--study", "mlp_digits", "--device", "cuda")
    assert done.code == 5
    assert is_clear(done.err)
    assert "--device cpu" in done.err
    assert is_untouched(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--study", "mlp_digits"],
        ["worker", "--study", "mlp_digits"],
        ["best", "--study", "mlp_digits"],
        ["status", "--study", "mlp_digits"],
        ["db", "init"],
        ["dashboard", "--port", "0"],
    ],
    ids=" ".join,
)
def test_an_unreachable_database(hpo: Command, tmp_path: Path, words: list[str]) -> None:
    done = hpo(*words, "--storage", "postgresql://me:sesame@127.0.0.1:1/hpo")
    assert done.code == 4
    note, _, error = done.err.partition("\n")
    assert note.startswith("note: others on this machine can read the password")
    assert is_clear(error)
    assert "cannot reach the database" in error
    assert "sesame" not in done.err
    assert is_untouched(tmp_path)


@pytest.mark.parametrize("url", ["sqlite:///study.db", "nonsense", "mysql://x/y"])
def test_a_search_needs_postgresql(hpo: Command, tmp_path: Path, url: str) -> None:
    done = hpo("run", "--study", "mlp_digits", "--storage", url)
    assert done.code == 4
    assert is_clear(done.err)
    assert is_untouched(tmp_path)


@pytest.mark.parametrize("words", [["best", "--study", "x"], ["dashboard", "--port", "0"]], ids=" ".join)
def test_reading_a_misspelt_file_makes_none(hpo: Command, tmp_path: Path, words: list[str]) -> None:
    done = hpo(*words, "--storage", "sqlite:///no_such.db")
    assert done.code == 4
    assert "no such file: no_such.db" in done.err
    assert is_untouched(tmp_path)


@pytest.mark.parametrize("command", ["best", "status", "trials"])
def test_reading_where_nothing_ever_ran(hpo: Command, tmp_path: Path, command: str) -> None:
    """No embedded server is made only to find that it is empty."""
    done = hpo(command, "--study", "mlp_digits")
    assert done.code == 2
    assert "no study has run here yet" in done.err
    assert is_untouched(tmp_path)


def test_an_address_that_others_reach_is_refused(hpo: Command, tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        done = hpo("dashboard", "--host", host, "--port", "0")
        assert done.code == 2
        assert "add --auth USER" in done.err
    assert is_untouched(tmp_path)


def test_a_bug_of_ours_shows_its_traceback(hpo: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_reference: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("hpo.study.discovery.find_study", broken)
    done = hpo("check", "--study", "mlp_digits")
    assert done.code == 70
    assert "Traceback" in done.err
    assert "RuntimeError: a bug" in done.err


@pytest.mark.parametrize(
    "command", [["run", "--study", "mlp_digits"], ["db", "init", "--study", "mlp_digits"], ["db", "init"]], ids=" ".join
)
def test_more_trials_than_a_database_can_count_are_refused(hpo: Command, tmp_path: Path, command: list[str]) -> None:
    """Before anything is started, and not as a bug of ours."""
    done = hpo(*command, "--trials", "99999999999")
    assert done.code == 2
    assert is_clear(done.err)
    assert "at most 2147483647" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--study", "mlp_digit"],
        ["--study", "mlp_digits", "--timeout", "banana"],
        ["--trials", "5"],
        ["--timeout", "3m", "--sampler", "gp"],
    ],
    ids=" ".join,
)
def test_db_init_makes_no_database_for_what_it_refuses(hpo: Command, tmp_path: Path, words: list[str]) -> None:
    done = hpo("db", "init", *words)
    assert done.code == 2
    assert is_clear(done.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dashboard", "--port", "99999"], "65535"),
        (["dashboard", "--port", "80x"], "80x"),
        (["report", "--study", "x", "--top", "-1"], "-1"),
    ],
    ids=lambda each: " ".join(each),
)
def test_a_value_that_an_option_cannot_take_is_named(hpo: Command, words: list[str], said: str) -> None:
    done = hpo(*words)
    assert done.code == 2
    assert is_clear(done.err)
    assert words[-1] in done.err
    assert said in done.err


def test_a_file_that_is_no_database_is_said_to_be_none(hpo: Command, tmp_path: Path) -> None:
    path = tmp_path / "mk.py"
    path.write_text("print('hello, this is a program and by no means a database')\n" * 50)
    done = hpo("status", "--study", "mine", "--storage", f"sqlite:///{path}")
    assert done.code == 4
    assert is_clear(done.err)
    assert f"sqlite:///{path} is not a database" in done.err
    assert "bug" not in done.err


@pytest.mark.parametrize("words", [["studies"], ["studies", "--json"], ["--help"]], ids=" ".join)
def test_a_full_disk_below_the_output_is_called_full(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hpo", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 5
    assert done.stderr == (
        "error: the disk of what this command writes to is full\nnext: make room there, then run it again\n"
    )
