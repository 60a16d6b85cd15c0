"""SqueezeNet and the MobileNets: sizes against torchvision and the papers, pretrained weights, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models as zoo

from hpo import Float, Study
from hpo.errors import DataError, StudyError
from hpo.models import MODELS
from hpo.models.build import build_model, count_macs, count_parameters
from hpo.models.pretrained import Resized

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)
ZOO = {
    "mobilenet_v2": (zoo.mobilenet_v2, zoo.MobileNet_V2_Weights.IMAGENET1K_V2, 300_774_272),
    "mobilenet_v3_small": (zoo.mobilenet_v3_small, zoo.MobileNet_V3_Small_Weights.IMAGENET1K_V1, 56_510_400),
    "mobilenet_v3_large": (zoo.mobilenet_v3_large, zoo.MobileNet_V3_Large_Weights.IMAGENET1K_V2, 216_589_760),
}


def build(name: str, shape: tuple[int, int, int] = CIFAR, classes: int = 10, **parameters: Any) -> nn.Module:
    return build_model(MODELS[name].builder, shape, classes, parameters)


def on_meta(name: str, shape: tuple[int, int, int] = CIFAR, classes: int = 10, **parameters: Any) -> nn.Module:
    with torch.device("meta"):
        return build(name, shape, classes, **parameters)


def test_squeezenet_has_torchvisions_fire_modules() -> None:
    """1000 classes: squeezenet1_0's parameters, less its 7x7 stem, plus our 3x3 one."""
    stems = 96 * 3 * (3 * 3 - 7 * 7)
    assert count_parameters(on_meta("squeezenet", classes=1000)) == count_parameters(zoo.squeezenet1_0()) + stems
    assert count_parameters(on_meta("squeezenet")) == 1_236_904 - 990 * 513


def test_squeezenet_channels_follow_the_ratios() -> None:
    """Squeezed and 3x3 channels of the first fire module; bypass adds no parameter; batch norm needs no bias."""
    fire = on_meta("squeezenet", squeeze_ratio=0.25, expand3x3_ratio=0.75).get_submodule("features.2")
    widths = [module.out_channels for module in fire.modules() if isinstance(module, nn.Conv2d)]
    assert widths == [32, 32, 96]
    simple = on_meta("squeezenet", bypass="simple")
    assert count_parameters(simple) == count_parameters(on_meta("squeezenet"))
    assert [m.skips for m in simple.modules() if hasattr(m, "skips")] == [False, True] * 4
    normed = on_meta("squeezenet", batch_norm=True)
    assert [m.bias is None for m in normed.modules() if isinstance(m, nn.Conv2d)] == [True] * 25 + [False]


def test_a_bypass_adds_the_input() -> None:
    """With every weight at zero, a fire module with bypass is the identity."""
    fire = build("squeezenet", bypass="simple").get_submodule("features.3")
    for parameter in fire.parameters():
        nn.init.zeros_(parameter)
    images = torch.randn(2, 128, 4, 4)
    assert torch.equal(fire(images), images)


def test_mobilenet_v1_is_the_papers() -> None:
    """4.2 million parameters and 569 million multiply-accumulates at 224 pixels; half the width 1.3 and 149 million."""
    original = on_meta("mobilenet_v1", IMAGENET, 1000, stem_stride=2)
    assert (count_parameters(original), count_macs(original, IMAGENET)) == (4_231_976, 568_740_352)
    half = on_meta("mobilenet_v1", IMAGENET, 1000, stem_stride=2, width=0.5)
    assert (round(count_parameters(half), -5), round(count_macs(half, IMAGENET), -6)) == (1_300_000, 149_000_000)
    assert count_parameters(on_meta("mobilenet_v1")) == 3_217_226


@pytest.mark.parametrize("name", ZOO)
def test_a_mobilenet_is_torchvisions(name: str) -> None:
    """Same parameters and, with the original stem, the papers' multiply-accumulates; stem 1 changes no parameter."""
    builder, _, macs = ZOO[name]
    model = on_meta(name, IMAGENET, 1000)
    assert count_parameters(model) == count_parameters(builder())
    assert count_macs(model, IMAGENET) == macs
    small, large = on_meta(name, stem_stride=2), on_meta(name, stem_stride=1)
    assert count_parameters(small) == count_parameters(large)
    assert count_macs(large, CIFAR) > 2 * count_macs(small, CIFAR)
    assert count_parameters(on_meta(name, width=0.5)) < count_parameters(on_meta(name)) / 1.5


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TORCH_HOME and no network."""

    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def weights_file(folder: Path, name: str) -> Path:
    return folder / ZOO[name][1].url.rpartition("/")[2]


@pytest.mark.parametrize("name", ZOO)
def test_pretrained_weights_are_taken_and_the_head_is_new(name: str, torch_home: Path) -> None:
    """Every weight but the last layer's is the file's; the images are scaled to the size asked for."""
    torch.manual_seed(1)
    given = ZOO[name][0]().state_dict()
    torch.save(given, weights_file(torch_home, name))
    model = build(name, pretrained=True, resize=64)
    assert isinstance(model, Resized)
    state = model.network.state_dict()
    last = sorted(key for key in state if key.startswith("classifier"))[-2:]
    assert all(torch.equal(state[key], given[key]) for key in state if key not in last)
    assert [state[key].shape[0] for key in last] == [10, 10]
    assert model.classifier is model.network.classifier
    assert count_macs(model, CIFAR) == count_macs(build(name), (3, 64, 64))
    sizes: list[torch.Size] = []
    model.network.register_forward_hook(lambda _module, images, _logits: sizes.append(images[0].shape))
    assert model.eval()(torch.randn(2, *CIFAR)).shape == (2, 10)
    assert sizes == [(2, 3, 64, 64)]


def test_weights_that_cannot_be_fetched_name_file_and_folder(torch_home: Path) -> None:
    """No network, no file: what is wanted, where, and why it did not come."""
    with pytest.raises(DataError) as caught:
        build("mobilenet_v3_small", pretrained=True)
    message = str(caught.value)
    assert "mobilenet_v3_small-047dcff4.pth" in message
    assert str(torch_home) in message
    assert "Network is unreachable" in message


def test_weights_of_another_shape_or_kind_are_refused(torch_home: Path) -> None:
    """On the meta device too, where `hpo check` builds: wrong shapes by name, other networks, files torn in half."""
    path = weights_file(torch_home, "mobilenet_v3_small")
    torch.save(zoo.mobilenet_v3_small(width_mult=0.5).state_dict(), path)
    with pytest.raises(DataError, match=r"features.0.0.weight: \[8, 3, 3, 3\], wanted \[16, 3, 3, 3\]"):
        on_meta("mobilenet_v3_small", pretrained=True)
    torch.save(zoo.mobilenet_v2().state_dict(), path)
    with pytest.raises(DataError, match="are not of this network"):
        build("mobilenet_v3_small", pretrained=True)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be read"):
        build("mobilenet_v3_small", pretrained=True)


def test_pretrained_weights_want_colour_and_full_width(torch_home: Path) -> None:
    """Said before anything is fetched."""
    for shape, width in (((1, 28, 28), 1.0), (CIFAR, 0.5)):
        with pytest.raises(StudyError, match="3 channels and width 1"):
            build("mobilenet_v2", shape, width=width, pretrained=True)


@pytest.mark.parametrize(
    ("model", "parameters", "message"),
    [
        ("squeezenet", {"squeeze_ratio": 0.001}, "0 squeezed"),
        ("squeezenet", {"expand3x3_ratio": 0.999}, "0 of 1x1"),
        ("mobilenet_v1", {"width": 0.01}, "none of 32 channels"),
    ],
)
def test_parts_without_channels_are_refused(model: str, parameters: dict[str, Any], message: str) -> None:
    """A ratio within its bounds may still round to nothing."""
    with pytest.raises(StudyError, match=message):
        on_meta(model, **parameters)


@pytest.mark.parametrize(
    ("model", "row", "message"),
    [
        ("squeezenet", {"squeeze_ratio": Float(0.0, 0.5)}, "must be above 0"),
        ("squeezenet", {"expand3x3_ratio": Float(0.3, 1.0)}, "must be below 1"),
        ("squeezenet", {"bypass": "complex"}, "not a choice"),
        ("mobilenet_v1", {"width": Float(0.0, 1.0)}, "must be above 0"),
        ("mobilenet_v2", {"stem_stride": 3}, "at most 2"),
        ("mobilenet_v3_small", {"mixup_alpha": Float(-0.1, 1.0)}, "at least 0"),
    ],
)
def test_a_study_refuses_what_no_model_can_be(model: str, row: dict[str, Any], message: str) -> None:
    """Bounds of the tables, at declaration."""
    with pytest.raises(StudyError, match=message):
        Study(name="s", dataset="cifar10", model=model, space={"batch_size": 8, "lr": 0.1, **row}, baseline={})


@pytest.mark.parametrize(("change", "message"), [({"folds": 1}, "folds=1"), ({"dataset": "digits"}, "8x8")])
def test_a_study_refuses_one_fold_and_images_of_another_size(change: dict[str, Any], message: str) -> None:
    """Eight pixels a side are no SqueezeNet's."""
    declared: dict[str, Any] = {"name": "s", "dataset": "cifar10", "model": "squeezenet", "baseline": {}}
    with pytest.raises(StudyError, match=message):
        Study(**declared | {"space": {"batch_size": 8, "lr": 0.1}} | change)
