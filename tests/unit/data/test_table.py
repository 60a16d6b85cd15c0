"""CSV: what becomes of columns, and what is refused at which line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from hpo.data import CSV, Samples
from hpo.data.files import Folders
from hpo.data.load import load
from hpo.errors import DataError, StudyError

ROWS = [
    f"{number},{number % 7}.5,{'red' if number % 3 else 'blue'},{'yes' if number % 2 else 'no'}" for number in range(40)
]
TEXT = "\n".join(["id,size,colour,bought", *ROWS]) + "\n"


def write(folder: Path, text: str, name: str = "rows.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def split(table: CSV, name: Any = "train") -> Samples:
    found = load(table.for_trainer(table.name), name, Folders(None, Path("nowhere")))
    assert isinstance(found, Samples)
    return found


def test_numbers_and_categories_become_the_inputs(tmp_path: Path) -> None:
    table = CSV(write(tmp_path, TEXT), "bought", 0.25, ignore=("id",))
    job = table.for_trainer(table.name)
    assert job["shape"] == [3]  # size, blue, red
    assert job["classes"] == ["no", "yes"]
    train, test = split(table), split(table, "test")
    assert isinstance(train.inputs, torch.Tensor)
    assert isinstance(test.inputs, torch.Tensor)
    assert train.inputs[:, 1:].sum(1).unique().tolist() == [1.0]
    assert set(train.inputs[:, 0].tolist()) <= {0.5 + number for number in range(7)}
    assert len(train.targets) + len(test.targets) == 40
    assert set(Counter(test.targets.tolist())) == {0, 1}
    rows = {tuple(row) for row in train.inputs.tolist()}
    assert not [row for row in test.inputs.tolist() if tuple(row) in rows], "an equal row is on both sides"


def test_a_word_among_numbers_is_told(tmp_path: Path) -> None:
    """It makes a category of a number, with a column for each value; some categories are meant to be."""
    path = write(tmp_path, TEXT.replace("\n3,3.5,", "\n3,3.S,"))
    (said,) = CSV(path, "bought", ignore=("id",)).notes()
    assert said.startswith(
        "column 'size' is a category of 8 words, because 1 row has no number there, the first '3.S' in line 5: mend"
    )
    assert CSV(path, "bought", ignore=("id",), categories=("size",)).notes() == []
    assert CSV(write(tmp_path, TEXT), "bought").notes() == []


def test_missing_values_are_told_and_filled_where_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT.replace("\n3,3.5,blue", "\n3, NA ,").replace("\n8,1.5,", "\n8,,"))
    with pytest.raises(DataError) as caught:
        CSV(path, "bought").for_trainer("rows")
    said = str(caught.value)
    assert "size: 2 of 40 rows, first in line 5" in said
    assert "colour: 1 of 40 rows, first in line 5" in said
    assert "test_table.py, line" in said
    assert 'next: missing="fill"' in said
    table = CSV(path, "bought", 0.05, ignore=("id",), missing="fill")
    assert table.for_trainer("rows")["shape"] == [5]  # size, where it was missing, blue, red, where that was
    both = torch.cat([split(table, "train").inputs, split(table, "test").inputs])  # type: ignore[list-item]
    assert both[:, 1].sum() == 2
    assert both[both[:, 1] == 1][:, 0].unique().tolist() == [3.5]  # the median
    assert both[both[:, 4] == 1].tolist() == [[3.5, 1, 0, 0, 1]]
    assert both.isfinite().all()


def test_numbers_may_be_categories_and_groups_stay_together(tmp_path: Path) -> None:
    text = "\n".join(["id,zip,who,bought", *(f"{n},{n % 4},p{n // 4},{n % 2}" for n in range(40))])
    table = CSV(write(tmp_path, text), "bought", categories=("zip",), groups="who", ignore=("id",))
    train, test = split(table), split(table, "test")
    assert table.for_trainer("rows")["shape"] == [4]
    assert table.class_names == ("0", "1")
    assert train.groups is not None
    assert test.groups is not None
    assert not set(train.groups.tolist()) & set(test.groups.tolist())


def test_test_rows_of_their_own_file_are_apart(tmp_path: Path) -> None:
    train = write(tmp_path, TEXT)
    test = write(tmp_path, "id,size,colour,bought\n900,77.5,green,no\n901,78.5,red,yes\n", "test.csv")
    table = CSV(train, "bought", test, ignore=("id",))
    assert split(table, "test").inputs.tolist() == [[77.5, 0, 0], [78.5, 0, 1]]  # type: ignore[union-attr]
    assert len(split(table).targets) == 40
    write(tmp_path, "id,size,colour,bought\n900,3.5,blue,no\n", "test.csv")
    with pytest.raises(DataError, match="1 of 1 test rows is trained on too") as caught:
        split(CSV(train, "bought", test, ignore=("id",)))
    assert "line 2 = line 5 of rows.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "it is empty"),
        ("a;bought\n1;2\n", {}, "delimiter=';'"),
        ("a,a,bought\n1,2,3\n", {}, "two columns are called 'a'"),
        ("a,bought\n", {}, "there are no rows"),
        ("a,bought\n1,2,3\n", {}, "line 2 has 3 fields, and the first line 2 names"),
        ("a,b\n1,2\n", {}, "has no column 'bought'"),
        ("a,bought\n1,yes\n2,\n", {}, "the target 'bought' is missing in 1 of 2 rows\n  line 3"),
        ("a,bought\n1,yes\n2,yes\n", {}, "is yes in every row"),
        ("a,bought\n1,yes\n2,no\n", {}, "class yes of 'bought' has 1 row, and each of 3 parts needs one"),
        ("a,bought\n" + "".join(f"1,{n}\n" for n in range(200)), {}, "200 different values, which are no classes"),
        ("a,bought\n" + "".join(f"w{n},{n % 2}\n" for n in range(200)), {}, "200 different words, which is text"),
        ("a,bought\nx,1\n" + "".join(f"{n},{n % 2}\n" for n in range(200)), {}, "text and no category\n  1 row has no"),
        ("a,bought\n" + "".join(f"inf,{n % 2}\n" for n in range(9)), {}, "column 'a' is infinite in line 2"),
        ("a,bought\n" + "".join(f",{n % 2}\n" for n in range(9)), {"missing": "fill"}, "'a' has no value at all"),
        (TEXT, {"ignore": ("di",)}, "has no column 'di'\n  known: "),
        (TEXT, {"ignore": ("id", "size", "colour")}, "no column is left"),
    ],
)
def test_a_table_that_cannot_be_learned_is_refused_with_the_line(
    text: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        CSV(write(tmp_path, text), "bought", **options).for_trainer("rows")
    assert said in str(caught.value)
    assert "test_table.py, line" in str(caught.value)


def test_a_file_that_is_not_there_or_changed_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read: No such file"):
        CSV(tmp_path / "nowhere.csv", "bought").for_trainer("rows")
    path = write(tmp_path, TEXT)
    table = CSV(path, "bought")
    job = table.for_trainer("rows")
    before = table.sources()
    write(tmp_path, TEXT + "41,1.5,red,yes\n")
    assert table.sources() != before
    with pytest.raises(DataError, match=r"rows\.csv changed since the study was started"):
        load(job, "train", Folders(None, tmp_path))
    (tmp_path / "bytes.csv").write_bytes(b"a,bought\n\xff,1\n")
    with pytest.raises(DataError, match="no CSV file in UTF-8"):
        CSV(tmp_path / "bytes.csv", "bought").for_trainer("rows")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"missing": "drop"}, 'neither "refuse" nor "fill"'),
        ({"ignore": "id"}, "ignore=('id',)"),
        ({"test": 1.5}, "test=1.5"),
        ({"delimiter": ""}, "must be one character"),
    ],
)
def test_an_impossible_value_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as caught:
        CSV("rows.csv", "bought", **options)
    assert said in str(caught.value)
