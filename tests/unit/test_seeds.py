"""Every test begins with the same random numbers in every run, in whatever order."""

from __future__ import annotations

import os
import random
from zlib import crc32

import numpy as np
import pytest
import torch


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_test_draws_what_its_name_and_the_seed_decide(request: pytest.FixtureRequest, which: str) -> None:
    """In Python, numpy and torch."""
    seed = crc32(f"{request.config.getoption('--seed')} {request.node.nodeid}".encode())
    assert random.random() == random.Random(seed).random()
    assert np.random.random() == np.random.RandomState(seed).random()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_test_begins_with_the_arithmetic_of_a_fresh_process(which: str) -> None:
    """One thread or OMP_NUM_THREADS, and denormal numbers kept, whatever the test before has set."""
    assert torch.get_num_threads() == int(os.environ.get("OMP_NUM_THREADS", 1))
    assert torch.tensor(1e-40) * 1.0 != 0.0
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
