"""Every row of MODELS keeps the contract of hpo.testing, and what building and counting promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpo.errors import StudyError
from hpo.models import MODELS
from hpo.models.build import build_model, count_macs, count_parameters, size_bytes
from hpo.testing import check_model

pytestmark = pytest.mark.numeric

PARAMETERS: dict[str, dict[str, Any]] = {
    "shallow": {"hidden_units": 40},
    "mlp": {"layers": 2, "hidden_units": [40, 30], "dropout": 0.2},
    "squeezenet": {"dropout": 0.1},  # of few squeezed channels all may be silent
    "resnet9": {"width": 4, "logit_scale": 0.5},
    "mobilenet_v1": {"width": 0.125},
    "mobilenet_v2": {"width": 0.25, "stem_stride": 1},
    "mobilenet_v3_small": {"width": 0.25, "stem_stride": 1},
    "mobilenet_v3_large": {"width": 0.5, "stem_stride": 1},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Whatever --seed says: some draws of a narrow network without normalisation do favour a class at first."""
    torch.manual_seed(0)


def build(name: str, shape: tuple[int, int, int], classes: int = 10) -> nn.Module:
    return build_model(MODELS[name].builder, shape, classes, PARAMETERS.get(name, {}))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_contract(name: str) -> None:
    """What hpo.testing.check_model says, for images of every size that the row takes."""
    check_model(name, PARAMETERS.get(name), task="segmentation" if name == "unet" else "classification")


def test_lenet_keeps_the_contract_for_the_images_it_was_made_for() -> None:
    check_model("lenet", shape=(1, 28, 28))


def test_lenet_is_lenet_5() -> None:
    """28x28 and 32x32 give the original's 61,706 parameters, and 28x28 its 416,520 multiply-accumulates."""
    lenet = build("lenet", (1, 28, 28))
    assert count_parameters(lenet) == count_parameters(build("lenet", (1, 32, 32))) == 61_706
    convolutions = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25
    assert count_macs(lenet, (1, 28, 28)) == convolutions + 400 * 120 + 120 * 84 + 84 * 10 == 416_520
    assert size_bytes(lenet) == 4 * 61_706


def test_resnet9_is_pages_network() -> None:
    """His has 6,573,120 parameters."""
    assert count_parameters(build_model(MODELS["resnet9"].builder, (3, 32, 32), 10, {})) == 6_573_120


def test_lenet_refuses_images_it_was_not_made_for() -> None:
    """An image size outside 28..32 is named in the error."""
    with pytest.raises(StudyError, match="not 8x8"):
        build("lenet", (1, 8, 8))


def test_the_mlp_has_one_width_per_layer() -> None:
    """hidden_units of another length than layers is refused; dropout 0 adds no layer."""
    with pytest.raises(StudyError, match="layers=3 with 2 values"):
        build_model("hpo.models.mlp:mlp", (1, 8, 8), 10, {"layers": 3, "hidden_units": [5, 5]})
    model = build_model("hpo.models.mlp:mlp", (1, 8, 8), 10, {"layers": 2, "hidden_units": [30, 20]})
    assert [module.out_features for module in model.modules() if isinstance(module, nn.Linear)] == [30, 20, 10]
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())
    assert count_macs(model, (1, 8, 8)) == 64 * 30 + 30 * 20 + 20 * 10
    with pytest.raises(StudyError, match="hidden_units=8 is one number") as caught:
        build_model("hpo.models.mlp:mlp", (1, 8, 8), 10, {"layers": 2, "hidden_units": 8})
    assert "hidden_units=[8, 8]" in str(caught.value)


def normalised(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(shape[0], 4, shape[1]), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))


class ReadsValues(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = 2.0 if images.sum().item() > 0 else 1.0
        logits: torch.Tensor = self.linear(images.flatten(1)) * scale
        return logits


def test_counting_leaves_the_model_as_it_was() -> None:
    """Batch statistics, weights and training mode survive a count, even over 1x1 maps; buffers count as memory."""
    model = normalised((1, 8, 8), 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert count_macs(model, (1, 8, 8)) == 4 * 64 + 4 * 3
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert size_bytes(model) == 4 * (4 * 64 + 4 + 8 + 15) + 4 * 8 + 8


def test_a_model_that_reads_values_is_counted_on_its_own_device() -> None:
    """`.item()` in forward, impossible on the meta device, does not prevent a count."""
    assert count_macs(ReadsValues(10), (1, 8, 8)) == 640


@pytest.mark.parametrize(
    ("builder", "parameters", "message"),
    [
        ("hpo.models.mlp", {}, "not of the form module:function"),
        ("no_such_module:build", {}, "cannot be imported"),
        ("hpo.models.mlp:shalow", {}, 'did you mean "shallow"'),
        ("hpo.models.mlp:shallow", {}, "hidden_units"),
        ("hpo.models.mlp:shallow", {"hidden_units": 3, "depth": 2}, "depth"),
        ("returns_a_number:build", {}, "returned int, not a torch.nn.Module"),
    ],
)
def test_a_builder_that_cannot_be_used_is_a_study_error(
    builder: str, parameters: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes a builder's name or parameters wrongly reads what is wrong."""
    (tmp_path / "returns_a_number.py").write_text("def build(shape, classes):\n    return 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StudyError) as caught:
        build_model(builder, (1, 8, 8), 10, parameters)
    assert message in str(caught.value)


def test_a_module_that_breaks_on_import_is_a_study_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own bug at import is quoted, with its cause kept for the traceback."""
    (tmp_path / "broken_builder.py").write_text("wide = undefined_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StudyError, match="undefined_name") as caught:
        build_model("broken_builder:build", (1, 8, 8), 10, {})
    assert isinstance(caught.value.__cause__, NameError)


def test_what_the_builder_raises_itself_passes_through() -> None:
    """A bug inside a builder keeps its own exception."""
    with pytest.raises(RuntimeError):
        build_model("hpo.models.mlp:shallow", (1, 8, 8), 10, {"hidden_units": -3})
