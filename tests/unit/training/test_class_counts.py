"""How many samples of each class `hpo check` says a study has, the rarest first."""

from __future__ import annotations

from typing import Any

import torch

from hpo.cli.check import _classes
from hpo.messages import Inspect
from hpo.training.preflight import inspect_study


def test_check_counts_the_classes_of_the_parts(make_job: Any, data: Any, device: torch.device) -> None:
    job = make_job()
    inspected = inspect_study(Inspect(job, [job.config], rehearse=True), data, device)
    counts = inspected.data["classes"]
    split = data.parts(job)
    assert list(counts) == [str(digit) for digit in range(10)]
    assert sum(train for train, _ in counts.values()) == len(split.train)
    assert sum(validation for _, validation in counts.values()) == len(split.validation)
    assert inspected.data["notes"] == []
    assert inspected.data["checksum"] == split.checksum
    plain = inspect_study(Inspect(job, [job.config], rehearse=False), data, device)
    assert plain.data == {"checksum": split.checksum}


def test_a_test_split_that_cannot_be_loaded_is_told_and_stops_no_search(
    make_job: Any, data: Any, device: torch.device
) -> None:
    dataset = {"name": "own", "loader": "synthetic:load_without_test", "shape": [1, 28, 28]}
    job = make_job(dataset=dataset | {"classes": list("0123456789"), "validation": 0.2})
    inspected = inspect_study(Inspect(job, [job.config], rehearse=True), data, device)
    assert inspected.problem is None
    (note,) = inspected.data["notes"]
    assert note.startswith("the test split, which hpo evaluate needs, cannot be loaded: AssertionError: the test split")
    assert "synthetic.py, line" in note


def test_the_rarest_classes_come_first() -> None:
    (line,) = _classes({"sound": [1900, 475], "cracked": [100, 25]})
    assert line.endswith("the rarest first: cracked 100 + 25, sound 1,900 + 475")
    (many,) = _classes({f"class {number}": [number, 1] for number in range(9)})
    assert many.endswith("class 5 5 + 1 and 3 more")
    assert _classes({}) == []
