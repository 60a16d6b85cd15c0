"""The bundled digits: the same, however they are read, and an error that says what to do where they cannot be."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from hpo.data import digits
from hpo.errors import DataError


def test_where_scikit_learn_keeps_them_elsewhere_it_gives_them_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, targets = digits._bundled()
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    for read, given in zip((pixels, targets), digits._bundled(), strict=True):
        assert read.dtype == given.dtype == np.uint8
        np.testing.assert_array_equal(read, given)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"1,2,3\n" * 99)[:-4], gzip.compress(b"1,2,3\n"), gzip.compress(b"a,b\nc,d\n")],
    ids=["no gzip", "torn", "other rows", "no numbers"],
)
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as raised:
        digits._read(path)
    assert str(path) in str(raised.value)
