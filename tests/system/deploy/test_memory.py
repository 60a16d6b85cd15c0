"""More trainers than memory: refused before the first one starts, with the number that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.errors import DeviceError
from hpo.trainers.memory import FORKED_BYTES, IMPORTED_BYTES, available_bytes, check_memory


def test_trainers_that_cannot_fit_are_refused_with_the_number_that_can() -> None:
    four = IMPORTED_BYTES + 4 * FORKED_BYTES
    check_memory(4, four)
    with pytest.raises(DeviceError, match="5 trainers do not fit") as refused:
        check_memory(5, four)
    assert "--trainers 4" in str(refused.value)


def test_each_rank_of_a_trial_on_several_devices_imports_torch_itself() -> None:
    check_memory(0, 4 * IMPORTED_BYTES, ranks=4)
    with pytest.raises(DeviceError, match="4 trainers do not fit"):
        check_memory(0, 4 * IMPORTED_BYTES - 1, ranks=4)
    with pytest.raises(DeviceError, match="5 trainers do not fit"):
        check_memory(1, 4 * IMPORTED_BYTES, ranks=4)


def test_forked_trainers_share_the_import_of_torch() -> None:
    """Sixteen were refused where they fit."""
    check_memory(16, 2**30)
    with pytest.raises(DeviceError, match="not even one trainer fits"):
        check_memory(1, IMPORTED_BYTES)


def test_a_container_s_limit_counts_and_its_file_cache_does_not(tmp_path: Path) -> None:
    """What the kernel can give back at once is free."""
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 300000\n")
    assert available_bytes(tmp_path) == 400_000


def test_without_a_limit_the_machine_s_memory_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) > 10_000_000
    assert available_bytes(tmp_path / "none") > 10_000_000
