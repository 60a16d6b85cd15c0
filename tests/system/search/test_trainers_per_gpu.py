"""`--trainers-per-gpu auto`: how many trainers a GPU gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpo.study.discovery import find_study
from hpo.trainers.jobs import make_job
from hpo.trainers.per_gpu import autotune_trainers_per_gpu, measure
from hpo.trainers.trial import Trial


@pytest.mark.parametrize(
    ("throughputs", "expected"),
    [
        ({1: 1.0, 2: 1.9, 4: 3.5, 8: 3.6}, 4),
        ({1: 1.0, 2: 1.05}, 1),
        ({1: 1.0, 2: 1.9, 4: None}, 2),
        ({1: None}, 1),
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0, 16: 16.0}, 16),
    ],
    ids=["stops growing", "never grows", "memory is full", "not even one", "the most there is"],
)
def test_trainers_are_doubled_while_it_pays(throughputs: dict[int, float | None], expected: int) -> None:
    """Throughput must grow by a tenth and memory must hold; nothing beyond the first failure is tried."""
    tried: list[int] = []

    def probe(count: int) -> float | None:
        tried.append(count)
        return throughputs[count]

    assert autotune_trainers_per_gpu(probe) == expected
    assert tried == list(throughputs)


def test_trainers_are_measured_together() -> None:
    """Real trainers report epochs per second; one that cannot train makes it None."""
    found = find_study("mlp_digits")
    job = make_job(found, Trial(0, 0, 1, {}, found.study.baseline_config, ""))
    job = replace(job, protocol=replace(job.protocol, epochs=2, early_stopping=None))
    rate = measure(job, "cpu", 2)
    assert rate is not None
    assert rate > 0
    assert measure(replace(job, model={"builder": "nowhere:nothing", "reads": []}), "cpu", 1) is None
    assert measure(job, "cuda:99", 1) is None
