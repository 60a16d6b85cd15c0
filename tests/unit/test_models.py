"""What every row of MODELS promises, and what building and counting promise."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from hpo.models import MODELS, Model
from hpo.models.build import build_model, count_macs, count_parameters, resolve, size_bytes
from torch import nn

from hpo.errors import StudyError

PARAMETERS: dict[str, dict[str, Any]] = {
    "shallow": {"hidden_units": 40},
    "mlp": {"layers": 2, "hidden_units": [40, 30], "dropout": 0.2},
    "squeezenet": {"dropout": 0.1},  # of few squeezed channels all may be silent
    "mobilenet_v1": {"width": 0.125},
    "mobilenet_v2": {"width": 0.25, "stem_stride": 1},
    "mobilenet_v3_small": {"width": 0.25, "stem_stride": 1},
    "mobilenet_v3_large": {"width": 0.5, "stem_stride": 1},
}
MOST_STEPS = 200
"""Of Adam at its usual rate: five times what the slowest model, SqueezeNet, took at worst of 60 seeds. Most take 20."""
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 29, 31), (3, 32, 32)]


def fits(model: Model, shape: tuple[int, int, int]) -> bool:
    low, high = model.image_sizes or (1, 10**6)
    return (model.channels is None or shape[0] in model.channels) and all(low <= side <= high for side in shape[1:])


CASES = [(name, shape) for name, model in MODELS.items() for shape in SHAPES if fits(model, shape)]
TRAINED = [(name, shape) for name, shape in CASES if shape == (3, 32, 32)] + [("lenet", (1, 28, 28))]


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Whatever --seed says: some draws of a narrow network without normalisation do favour a class at first."""
    torch.manual_seed(0)


def build(name: str, shape: tuple[int, int, int], classes: int = 10) -> nn.Module:
    return build_model(MODELS[name].builder, shape, classes, PARAMETERS.get(name, {}))


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_every_model_gives_logits_for_every_image_size_of_its_row(name: str, shape: tuple[int, int, int]) -> None:
    """Float images [N, C, H, W] become finite logits [N, classes]."""
    logits = build(name, shape, classes=7)(torch.randn(3, *shape))
    assert logits.shape == (3, 7)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_every_model_starts_undecided(name: str, shape: tuple[int, int, int]) -> None:
    """The first cross entropy on normalised images is near ln(classes): no class is favoured by initialisation.

    The median of eleven seeds: a SqueezeNet of a few seeds in a hundred, 7 of 200 counted, starts further off, as its
    narrow layers leave much to chance. That six of eleven do, if each does so with 3.5 %, has a probability of 1e-6.
    """
    losses = []
    for seed in range(11):
        torch.manual_seed(seed)
        model = build(name, shape).eval()
        with torch.no_grad():
            losses.append(float(nn.functional.cross_entropy(model(torch.randn(64, *shape)), torch.arange(64) % 10)))
    assert abs(median(losses) - math.log(10)) < 0.5


@pytest.mark.parametrize(("name", "shape"), TRAINED)
def test_every_model_sends_gradients_to_all_parameters(name: str, shape: tuple[int, int, int]) -> None:
    """No parameter is dead weight."""
    model = build(name, shape)
    nn.functional.cross_entropy(model(torch.randn(8, *shape)), torch.arange(8)).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and bool(gradient.any()) for gradient in gradients)


@pytest.mark.parametrize(("name", "shape"), TRAINED)
def test_every_model_learns_a_batch_by_heart(name: str, shape: tuple[int, int, int]) -> None:
    """Adam halves the loss of one small batch.

    Of images that can be told apart: the average over all pixels of noise, which most of these models look at, is
    nearly the same for every image. Without dropout, which would make each loss a draw. What counts is that the loss
    gets there, not that it is there after the last of so many steps.
    """
    model = build(name, shape)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images, labels = nn.functional.interpolate(torch.randn(16, shape[0], 4, 4), size=shape[1:]), torch.arange(16) % 10
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    while not losses or losses[-1] >= losses[0] / 2:
        assert len(losses) <= MOST_STEPS, losses
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_the_same_for_the_same_seed(name: str) -> None:
    """Initial weights depend on torch's seed alone."""
    shape = next(shape for model, shape in CASES if model == name)
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build(name, shape).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", MODELS)
def test_every_row_reads_what_its_builder_takes(name: str) -> None:
    """The parameters of a row are the builder's, no more and no fewer."""

    arguments = list(inspect.signature(resolve(MODELS[name].builder, "model builder")).parameters)
    assert arguments[:2] == ["shape", "classes"]
    assert set(arguments[2:]) == set(MODELS[name].reads)


def test_lenet_is_lenet_5() -> None:
    """28x28 and 32x32 give the original's 61,706 parameters, and 28x28 its 416,520 multiply-accumulates."""
    lenet = build("lenet", (1, 28, 28))
    assert count_parameters(lenet) == count_parameters(build("lenet", (1, 32, 32))) == 61_706
    convolutions = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25
    assert count_macs(lenet, (1, 28, 28)) == convolutions + 400 * 120 + 120 * 84 + 84 * 10 == 416_520
    assert size_bytes(lenet) == 4 * 61_706


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
