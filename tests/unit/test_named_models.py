"""torchvision's and timm's networks by name: found, adapted to the images, with pretrained weights from a file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from hpo import Categorical, Float, Study
from hpo.errors import DataError, StudyError
from hpo.models import named_model
from hpo.models.build import build_model
from hpo.study.own import is_own_builder
from hpo.testing import check_model

TINY = "squeezenet1_1"


def build(name: str, shape: tuple[int, int, int], classes: int = 5, **parameters: Any) -> nn.Module:
    row = named_model(name)
    assert row is not None
    defaults = {key: reads.default for key, reads in row.reads.items()}
    return build_model(row.builder, shape, classes, defaults | parameters)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "googlenet", "vgg11"])
def test_torchvisions_networks_have_a_head_for_the_classes(architecture: str) -> None:
    with torch.device("meta"):
        for channels in (3, 1):
            network = build(f"torchvision:{architecture}", (channels, 64, 64))
            assert network(torch.zeros(2, channels, 64, 64)).shape == (2, 5)


def test_a_network_by_name_keeps_the_contract_of_models() -> None:
    row = named_model("torchvision:resnet18")
    assert row is not None
    check_model(row, shape=(1, 32, 32), classes=4)
    assert is_own_builder(row.builder)


def test_a_study_names_it_and_may_search_over_names() -> None:
    study = Study(
        name="s",
        dataset="cifar10",
        model="torchvision:resnet18",
        space={"architecture": Categorical("resnet18", "resnet34"), "batch_size": 32, "lr": Float(0.01, 0.1)},
        baseline={"architecture": "resnet18", "lr": 0.1},
    )
    assert study.baseline_config["architecture"] == "resnet18"
    assert study.declaration()["(model)"] == "torchvision:resnet18"
    assert named_model("mlp") is None
    assert named_model("my_models:build") is None


@pytest.mark.parametrize("name", ["torchvision:resnet81", "torchvision:../x"])
def test_an_unknown_network_is_told_with_the_nearest(name: str) -> None:
    with pytest.raises(StudyError, match="torchvision has no network") as caught:
        build(name, (3, 32, 32))
    assert 'model="torchvision:resnet18"' in str(caught.value)


def test_pretrained_weights_come_from_a_file_with_a_new_head(tmp_path: Path) -> None:
    theirs = models.get_model(TINY, weights=None, num_classes=11)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "w.pth")
    ours = build(f"torchvision:{TINY}", (3, 64, 64), weights=str(tmp_path / "w.pth"))
    different = [key for key, value in ours.state_dict().items() if value.shape != theirs.state_dict()[key].shape]
    assert different == ["classifier.1.weight", "classifier.1.bias"]
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items() if k not in different)


def test_weights_that_are_not_there_or_of_another_network_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no weights in .*nowhere\.pth"):
        build(f"torchvision:{TINY}", (3, 64, 64), weights=str(tmp_path / "nowhere.pth"))
    (tmp_path / "text.pth").write_text("x")
    with pytest.raises(DataError, match="cannot be read"):
        build(f"torchvision:{TINY}", (3, 64, 64), weights=str(tmp_path / "text.pth"))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(DataError, match="are not of this network"):
        build(f"torchvision:{TINY}", (3, 64, 64), weights=str(tmp_path / "other.pth"))
    with pytest.raises(StudyError, match="images of 3 channels, not 1"):
        build(f"torchvision:{TINY}", (1, 64, 64), weights=str(tmp_path / "other.pth"))


class Dense(nn.Module):
    """A network of timm's kind."""

    def __init__(self, num_classes: int, in_chans: int, img_size: tuple[int, int]) -> None:
        super().__init__()
        self.pretrained_cfg = {"classifier": "head"}
        self.body = nn.Linear(in_chans * img_size[0] * img_size[1], 4)
        self.head = nn.Linear(4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images.flatten(1)))


def test_timms_networks_are_made_for_the_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def create(name: str, pretrained: bool, **options: Any) -> nn.Module:
        assert (name, pretrained) == ("dense", False), "nothing is fetched"
        return Dense(**options)

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(list_models=lambda: ["dense"], create_model=create))
    assert build("timm:dense", (2, 6, 7))(torch.zeros(3, 2, 6, 7)).shape == (3, 5)
    assert build("timm:dense", (2, 6, 7), resize=4)(torch.zeros(3, 2, 6, 7)).shape == (3, 5)
    torch.save(Dense(9, 2, (6, 7)).state_dict(), tmp_path / "w.pth")
    build("timm:dense", (2, 6, 7), weights=str(tmp_path / "w.pth"))
    with pytest.raises(StudyError, match='timm has no network "dens"'):
        build("timm:dens", (2, 6, 7))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(StudyError, match="timm is not installed") as caught:
        build("timm:dense", (2, 6, 7))
    assert "pip install timm" in str(caught.value)
