"""What CUDA raises, told apart by what it says; no GPU is needed to raise it."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import Pipe
from typing import Any

import pytest
import torch

from hpo import trainer
from hpo.channel import Channel
from hpo.errors import DeviceError
from hpo.messages import Epoch, Finished
from hpo.training import cuda_errors
from hpo.training import device as device_module
from hpo.training.cuda_errors import answers, is_of_device, memory_error
from hpo.training.device import open_device, release_memory
from hpo.training.outcomes import failure

GPU = torch.device("cuda", 0)
ASSERTED = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported later"


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_memory_that_ran_out_is_known_whoever_says_it(said: str, make_job: Any) -> None:
    """The allocator, the driver, cuBLAS or cuDNN: the sampler learns that this was too large."""
    finished = failure(make_job(), RuntimeError(said))
    assert finished.outcome == "out_of_memory"
    assert finished.reason.endswith(said.splitlines()[0])


def test_a_recording_that_memory_ended_ran_out_of_memory(make_job: Any) -> None:
    """What torch then says is about the recording; the reason is that of the allocator."""
    error = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    error.__context__ = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")
    finished = failure(make_job(), error)
    assert finished.outcome == "out_of_memory"
    assert "Tried to allocate 7 GiB" in finished.reason


def test_another_error_is_none_of_memory(make_job: Any) -> None:
    """Not even one that a user's code raised with the words, or for another reason while it handled memory's."""
    assert memory_error(ValueError("CUDA out of memory")) is None
    error = RuntimeError("the weights have another shape")
    error.__context__, error.__suppress_context__ = MemoryError(), True  # as `from None` does
    assert memory_error(error) is None
    assert failure(make_job(), RuntimeError(ASSERTED)).outcome == "failed"


@pytest.mark.parametrize(
    ("said", "broken"),
    [
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", True),
        (ASSERTED, False),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_a_broken_device_is_told_from_what_ran_on_it(said: str, broken: bool, make_job: Any) -> None:
    assert is_of_device(RuntimeError(said)) is broken
    assert failure(make_job(), RuntimeError(said)).outcome == ("broken_device" if broken else "failed")


def test_a_process_that_an_assertion_has_ended_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that cleans up raises there: what it would hide is how the trial ended."""
    monkeypatch.setattr(cuda_errors.torch.cuda, "synchronize", lambda device: None)
    assert answers(GPU)
    monkeypatch.setattr(cuda_errors.torch.cuda, "synchronize", raising(RuntimeError(ASSERTED)))
    monkeypatch.setattr(cuda_errors.torch.cuda, "empty_cache", raising(RuntimeError(ASSERTED)))
    assert not answers(GPU)
    assert answers(torch.device("cpu"))
    release_memory(GPU)


def test_a_gpu_that_cannot_be_opened_is_an_error_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in exclusive mode, for one: no traceback of torch's."""
    busy = RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nmore")
    monkeypatch.setattr("hpo.training.device._find", lambda name: GPU)
    monkeypatch.setattr(cuda_errors.torch.cuda, "set_device", raising(busy))
    with pytest.raises(DeviceError, match="cuda:0 does not compute") as raised:
        open_device("cuda:0")
    assert "busy or unavailable" in str(raised.value)


def retraining(
    monkeypatch: pytest.MonkeyPatch, make_job: Any, device: torch.device, ends: list[Any], *, after: int = 0
) -> tuple[Any, list[str]]:
    """How a trainer ends a job whose attempts end as `ends` says, the first after so many epochs; what it did."""
    done: list[str] = []

    def fit(job: Any, data: Any, device: torch.device, on_epoch: Callable[[Any], None], *_: Any) -> Finished:
        for number in range(after):
            on_epoch(Epoch(job.trial_id, number + 1, {}, 1.0, []))
        done.append("trained")
        if isinstance(end := ends.pop(0), BaseException):
            raise end
        return Finished(job.trial_id, end)

    monkeypatch.setattr(trainer, "fit", fit)
    monkeypatch.setattr(trainer, "release_memory", lambda device: done.append("released"))
    theirs, ours = Pipe()
    channel = Channel(ours, in_process=True)
    finished = trainer._answer(make_job(), channel, None, device, True)  # type: ignore[arg-type]
    theirs.close()
    return finished, done


FULL = "CUDA out of memory. Tried to allocate 2.00 GiB."


def test_a_gpu_without_memory_is_tried_once_more_after_what_was_left_is_freed(
    monkeypatch: pytest.MonkeyPatch, make_job: Any
) -> None:
    """Garbage of earlier trials had filled it: the sampler would have learned that this trial is too large."""
    ends = [torch.OutOfMemoryError(FULL), "complete"]
    finished, done = retraining(monkeypatch, make_job, GPU, ends)
    assert (finished.outcome, done) == ("complete", ["trained", "released", "trained"])
    ends = [torch.OutOfMemoryError(FULL), torch.OutOfMemoryError(FULL)]
    finished, done = retraining(monkeypatch, make_job, GPU, ends)
    assert (finished.outcome, done) == ("out_of_memory", ["trained", "released", "trained"])


def test_no_epoch_is_reported_twice_and_no_other_error_tried_again(
    monkeypatch: pytest.MonkeyPatch, make_job: Any
) -> None:
    once = ["trained"]
    assert retraining(monkeypatch, make_job, GPU, [torch.OutOfMemoryError(FULL)], after=1)[1] == once
    assert retraining(monkeypatch, make_job, GPU, [RuntimeError("boom")])[1] == once
    assert retraining(monkeypatch, make_job, torch.device("cpu"), [MemoryError()])[1] == once


@pytest.mark.parametrize(
    ("share", "gib", "left"), [(1.0, 8, 1.0), (0.5, 8, 0.4375), (0.25, 80, 0.24375), (0.05, 8, 0.025)]
)
def test_trainers_that_share_a_gpu_leave_room_for_their_contexts(share: float, gib: int, left: float) -> None:
    """Their shares added up to all of its memory, which none of them could have with the others' contexts in it."""
    assert device_module._without_context(share, gib << 30) == pytest.approx(left)
