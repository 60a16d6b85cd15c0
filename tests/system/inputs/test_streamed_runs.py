"""Samples that worker processes load while a trial trains: the study of docs/examples/data/streamed.py."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import synthetic
import torch
from torch.utils.data import default_collate

import hpo
from hpo.data.sample_workers import BatchRequest, SampleWorkers, Source
from hpo.errors import DataError
from hpo.evaluation.evaluate import EvaluateOptions, evaluate
from hpo.inference.exporting import export_model
from hpo.inference.model import Trust, load_model
from hpo.reproduction import reproduce
from hpo.settings import Settings
from hpo.study.discovery import find_study
from hpo.trainers.estimate import inspect_study

COPIED = ("streamed.py", "streamed_data.py")
BATCHES = [BatchRequest(True, 5, tuple(range(16 * batch, 16 * batch + 16))) for batch in range(8)]


@pytest.fixture
def source() -> Source:
    images = [synthetic.Pictures("train", noisy=noisy) for noisy in (True, False)]
    return Source(images[0], images[1], default_collate, lambda batch: batch)


@pytest.fixture
def workers(source: Source) -> Iterator[SampleWorkers]:
    workers = SampleWorkers(source, 2, pinned=False)
    yield workers
    workers.close()


def inputs(workers: SampleWorkers, batches: Sequence[BatchRequest]) -> torch.Tensor:
    return torch.cat([workers.batch(wanted)[0] for wanted in batches])


def test_a_study_is_searched_reproduced_evaluated_and_exported(place: Path) -> None:
    study, settings = str(place / "streamed.py"), Settings.read()
    assert hpo.run(study, trials=2, trainers=1).counts["complete"] == 2
    assert reproduce(study, 0, storage=None, device=None, settings=settings).same
    found = find_study(study)
    evaluate(study, EvaluateOptions(top=1, seeds=1, out=place / "out", trainers=1), settings)
    saved = load_model(place / "out" / "winner", "squares", Trust(found.study.model_row.builder, found.sys_path))
    assert export_model(saved, "torch-export", place / "m.pt2").checked == 36


def test_whoever_loads_a_sample_it_is_the_same(source: Source, workers: SampleWorkers) -> None:
    """Also after a new beginning in the middle of what was expected; torch's generators here are left alone."""
    here = inputs(SampleWorkers(source, 0, pinned=False), BATCHES)
    before, children = torch.get_rng_state(), set(psutil.Process().children())
    workers.expect(BATCHES)
    assert torch.equal(inputs(workers, BATCHES[:3]), here[:48])
    workers.expect(BATCHES[3:])
    assert torch.equal(inputs(workers, BATCHES[3:]), here[48:])
    assert torch.equal(inputs(workers, BATCHES[1:2]), here[16:32]), "one that nobody expects"
    assert torch.equal(before, torch.get_rng_state())
    assert len(set(psutil.Process().children()) - children) == 2


def test_a_worker_that_is_killed_costs_no_sample(source: Source, workers: SampleWorkers) -> None:
    """Nor does its death raise anything where no sample is asked for: torch's handler did, in the middle of a step."""
    here = inputs(SampleWorkers(source, 0, pinned=False), BATCHES)
    before, handler = set(psutil.Process().children()), signal.getsignal(signal.SIGCHLD)
    workers.expect(BATCHES)
    first = workers.batch(BATCHES[0])[0]
    assert signal.getsignal(signal.SIGCHLD) is handler
    killed = set(psutil.Process().children()) - before
    assert len(killed) == 2
    for child in killed:
        child.kill()
    assert torch.equal(torch.cat([first, inputs(workers, BATCHES[1:])]), here)


def test_an_error_in_a_worker_is_told_with_the_samples_and_the_line(place: Path, tmp_path: Path) -> None:
    """By `hpo check`, although no sample that is looked at first has it."""
    text = (place / "streamed_data.py").read_text()
    (tmp_path / "odd_data.py").write_text(
        text.replace("        random = torch", "        assert number % 50 != 7, 'no picture'\n        random = torch")
    )
    (tmp_path / "study.py").write_text((place / "streamed.py").read_text().replace("streamed_data", "odd_data"))
    with pytest.raises(DataError) as caught:
        inspect_study(find_study(str(tmp_path / "study.py")), "cpu")
    assert "7 cannot be loaded: AssertionError: no picture" in str(caught.value)
    assert f"{tmp_path}/odd_data.py, line 21: assert number" in str(caught.value)
