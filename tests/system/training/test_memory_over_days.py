"""A trainer keeps its size, whatever networks it has trained before."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import psutil
import pytest

from hpo.training.device import HeapTrimmer


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """A trainer never leaves what it has frozen; this process goes on to other tests."""
    yield
    gc.unfreeze()


SHAPES = """
import hpo.trainer, psutil, random, torch
from hpo.training.device import HeapTrimmer
from hpo.training.kernels.gemm import linear

random.seed(0)
heap, sizes = HeapTrimmer(0.0), []
for shapes in (800, 400):
    for _ in range(shapes):
        batch, inputs, outputs = random.randint(3, 100), random.randint(32, 512), random.randint(32, 512)
        linear(torch.ones(batch, inputs), torch.ones(outputs, inputs), torch.ones(outputs), relu=False)
    heap.rest()
    sizes.append(psutil.Process().memory_info().rss / 2**20)
print(round(sizes[1] - sizes[0], 1), torch.get_num_threads())
"""


def test_products_of_ever_new_shapes_do_not_add_up() -> None:
    """What oneDNN keeps of each has reached its most after some hundred shapes, and not after two thousand."""
    done = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[0]) < 12.0, done.stdout  # MB


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library keeps no heap to trim")
def test_memory_that_trials_have_freed_goes_back_to_the_system() -> None:
    """Also below a block that is in use, where the end of the heap cannot be cut off."""
    blocks = [bytearray(64 << 10) for _ in range(2000)]  # below malloc's threshold for blocks of their own
    last = bytearray(64 << 10)
    del blocks
    held = psutil.Process().memory_info().rss
    HeapTrimmer(every_seconds=0.0).rest()
    assert held - psutil.Process().memory_info().rss > 100 << 20
    assert last


def test_a_heap_is_not_trimmed_after_every_short_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr("hpo.training.device._trim_heap", lambda: trimmed.append(1))
    heap = HeapTrimmer(every_seconds=1000.0)
    for _ in range(100):
        heap.rest()
    assert len(trimmed) == 1  # after the first


def test_a_collection_walks_only_through_what_is_new() -> None:
    """Torch's own objects are left out of it, and what a trial leaves in a circle is not."""
    heap = HeapTrimmer()
    heap.rest()
    assert len(gc.get_objects()) < 1000 < gc.get_freeze_count()
    gone = weakref.ref(Circle())
    heap.rest()
    assert gone() is None


def test_what_a_later_trial_imports_is_left_out_as_well() -> None:
    """Torch's optimizers import its compiler at the first step of the first trial: every collection took 0.1 s more."""
    heap = HeapTrimmer()
    heap.rest()
    imported = [[] for _ in range(20_000)]
    heap.rest()
    assert len(gc.get_objects()) < 1000, len(imported)


def test_what_trials_held_and_let_go_is_collected_in_the_end() -> None:
    heap = HeapTrimmer()
    heap.rest()
    kept = [Circle() for _ in range(20_000)]
    heap.rest()
    gone = weakref.ref(kept[0])
    kept = [Circle() for _ in range(gc.get_freeze_count())]
    assert gone() is not None  # frozen, in a circle
    heap.rest()
    assert gone() is None, len(kept)
    assert len(gc.get_objects()) < 1000


class Circle:
    def __init__(self) -> None:
        self.itself = self
