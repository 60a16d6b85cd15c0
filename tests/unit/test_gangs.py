"""Which devices train a trial together, and which requests are refused before the first one."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

import hpo
from hpo import Float, Objective
from hpo.errors import DeviceError, HpoError, StudyError, UsageError
from hpo.own_training.loader import RankBatches
from hpo.search.options import RunOptions
from hpo.search.parts import slot_specs
from hpo.settings import Settings
from hpo.study.discovery import FoundStudy
from hpo.trainers.devices import find_slots
from hpo.trainers.gangs import gangs, left_over
from hpo.trainers.gpus import shown
from hpo.trainers.slot import SlotSpec
from hpo.training.ranks import Ranks

EIGHT = [SlotSpec(f"cuda:{index}") for index in range(8)]
NAMES = [str(index) for index in range(8)]


def cores(count: int) -> list[SlotSpec]:
    return [SlotSpec("cpu")] * count


def test_devices_are_taken_in_their_order_and_what_is_left_is_said() -> None:
    made = gangs(EIGHT, 3, None, NAMES)
    assert [spec.devices for spec in made] == [["cuda:0", "cuda:1", "cuda:2"], ["cuda:3", "cuda:4", "cuda:5"]]
    assert left_over(EIGHT, made) == "8 devices, 3 for each trial: cuda:6, cuda:7 left over, and trains nothing"
    assert left_over(EIGHT, gangs(EIGHT, 4, None, NAMES)) == ""
    assert [spec.device for spec in gangs(cores(4), 2, 1, [])] == ["cpu,cpu"]
    assert left_over(cores(3), gangs(cores(3), 2, None, [])).startswith("3 devices, 2 for each trial: cpu left over")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gangs(EIGHT[:2], 4, None, NAMES), "--devices-per-trial 4 needs 4 GPUs or cores, and this run has 2"),
        (lambda: gangs(EIGHT[:1] * 2, 2, None, NAMES), "needs 2 GPUs"),  # one GPU, named twice
        (lambda: gangs(cores(2), 3, None, []), "--devices-per-trial 3 needs 3 GPUs or cores, and this run has 2"),
        (lambda: gangs(cores(4), 2, 3, []), "--trainers 3 with --devices-per-trial 2 needs 6 cores, of 4"),
        (lambda: gangs(EIGHT[:2], 2, None, ["GPU-1", "MIG-2"]), "cuda:1 is a MIG slice"),
    ],
)
def test_what_no_host_can_give_is_refused(make: Any, says: str) -> None:
    with pytest.raises(DeviceError) as refused:
        make()
    assert says in str(refused.value)
    assert refused.value.evidence
    assert refused.value.next


def test_a_gpu_that_is_gone_is_refused_before_a_gang_and_left_to_torch_under_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the other GPUs are."""
    for left in (["GPU-1"], ["MIG-1"]):
        monkeypatch.setattr("hpo.trainers.devices.visible_gpus", lambda environ, left=left: left)
        monkeypatch.setattr("hpo.trainers.gpus.visible_gpus", lambda environ, left=left: left)
        monkeypatch.setattr("hpo.trainers.devices.unlisted", lambda environ: [])
        with pytest.raises(DeviceError, match="no device cuda:1 here") as refused:
            find_slots("cuda:0,cuda:1", trainers=None, trainers_per_gpu=1, environ={}, devices_per_trial=2)
        assert refused.value.evidence
        assert refused.value.next
        assert shown("cuda:1", {"PATH": "/bin"}) == ("cuda:1", {"PATH": "/bin"})


def study(**fields: Any) -> hpo.Study:
    rows = {"lr": Float(1e-3, 1e-1, log=True), "batch_size": 32}
    given = {"space": rows, "baseline": {"lr": 1e-2}, **fields}
    return hpo.Study(name="s", dataset="digits", model="mlp", **given)


def test_the_number_of_devices_is_no_part_of_what_a_trial_means() -> None:
    rows = {"lr": Float(1e-3, 1e-1, log=True), "batch_size": 32, "layers": 1, "hidden_units": 8}
    assert study(space=rows, devices_per_trial=2).fingerprint() == study(space=rows).fingerprint()
    for wrong in (0, -1, 1.5, True, "2", 5000):
        with pytest.raises(StudyError, match="devices_per_trial="):
            study(space=rows, devices_per_trial=wrong)


def specs(study: hpo.Study, **options: Any) -> list[SlotSpec]:
    found = FoundStudy(study, Path("s.py"), ())
    return slot_specs(found, RunOptions(on_notice=lambda _: None, **options), Settings(Path("home")))


def test_the_option_goes_before_the_study_and_some_studies_have_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo.trainers.devices.usable_cores", lambda: 4)
    monkeypatch.setattr("hpo.trainers.devices.visible_gpus", lambda environ: [])
    rows = {"lr": Float(1e-3, 1e-1, log=True), "batch_size": 32, "layers": 1, "hidden_units": 8}
    two = study(space=rows, devices_per_trial=2)
    assert [spec.device for spec in specs(two, devices="cpu")] == ["cpu,cpu"] * 2
    assert [spec.device for spec in specs(two, devices="cpu", devices_per_trial=1)] == ["cpu"] * 4
    assert [spec.device for spec in specs(two, devices="cpu", trainers=1)] == ["cpu,cpu"]
    objective = hpo.Study(name="o", objective=Objective("train:objective", direction="minimize"))
    refused: list[tuple[type[HpoError], hpo.Study, dict[str, Any]]] = [
        (StudyError, objective, {"devices_per_trial": 2}),
        (UsageError, two, {"trainers_per_gpu": 2}),
        (UsageError, two, {"trainers_per_gpu": "auto"}),
    ]
    for kind, declared, options in refused:
        with pytest.raises(kind, match=r"devices.per.trial"):
            specs(declared, devices="cpu", **options)
    with pytest.raises(UsageError):
        find_slots("cpu", trainers=None, trainers_per_gpu=2, environ={}, devices_per_trial=2)


def test_every_image_of_a_batch_is_one_ranks_and_no_rank_has_a_single_one() -> None:
    for count in range(1, 40):
        for size in (2, 3, 4):
            parts = [Ranks(rank, size).part(torch.arange(count)).tolist() for rank in range(size)]
            assert list(chain(*parts)) == list(range(count))
            assert count == 1 or all(len(part) != 1 for part in parts)


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_loaders_batches_are_divided_evenly(drop_last: bool) -> None:
    """Together the ranks have the batches of one device, the last one filled up from the beginning."""
    ranks = [RankBatches(range(10), 4, drop_last=drop_last, rank=rank, ranks=2) for rank in range(2)]
    divided = [list(one) for one in ranks]
    assert divided[0] == [[0, 2], [4, 6], [8]][: len(divided[0])]
    assert divided[1] == [[1, 3], [5, 7], [9]][: len(divided[1])]
    assert [len(one) for one in ranks] == [len(divided[0])] * 2 == [2 if drop_last else 3] * 2
    filled = [list(RankBatches(range(5), 4, drop_last=False, rank=rank, ranks=2)) for rank in range(2)]
    assert filled == [[[0, 2], [4]], [[1, 3], [0]]]
    with pytest.raises(ValueError, match="3 devices cannot divide a batch of 4 evenly"):
        RankBatches(range(10), 4, drop_last=False, rank=0, ranks=3)
