"""A recorded step trains as the eager step does, and as plain torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from plain_training import assert_trained_as_plainly
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.data.image_set import ImageSet
from hpo.models.lenet import lenet
from hpo.models.mlp import mlp
from hpo.training.augmenting import mixer, training_batch
from hpo.training.average import WeightAverage
from hpo.training.configuration import Recipe
from hpo.training.graphs import WARM_UP, CaptureFailed, capture
from hpo.training.optimizers import build_optimizer, set_lr
from hpo.training.step import Step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning"),  # torch calls it a prototype
]
SHAPE = (1, 28, 28)
RECIPES: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
    "rmsprop": {"optimizer": "rmsprop"},
    "average of the weights": {"optimizer": "adam", "ema_decay": 0.9},
    "gradient clipping": {"optimizer": "sgd", "lr": 0.1, "gradient_clip": 0.5},
}


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """TF32 rounds differently from kernel to kernel."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def images(device: torch.device) -> ImageSet:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (256, *SHAPE), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, 10, (256,), generator=random)
    return ImageSet(pixels, labels, torch.tensor([0.5]), torch.tensor([0.25]), device)


def train(model: nn.Module, recipe: Recipe, *, graphs: bool, strict: bool = False) -> tuple[Step, dict[str, Tensor]]:
    """50 steps with a learning rate that halves on the way, the last batch of every ten shorter."""
    device = torch.device("cuda")
    optimizer = build_optimizer(model.to(device), recipe, device)
    step = Step(model, images(device).batch, optimizer, recipe, device, graphs=graphs)
    random = torch.Generator().manual_seed(1)
    batches = [torch.randint(0, 256, (32 - 7 * (n % 10 == 9),), generator=random).to(device) for n in range(50)]
    for number, index in enumerate(batches):
        if number == 25:
            set_lr(optimizer, recipe.lr / 2)
        if number == 12 and strict:
            torch.cuda.set_sync_debug_mode("error")
        try:
            step(index)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return step, dict(model.state_dict())


@pytest.mark.parametrize("build", [lambda: lenet(SHAPE, 10), lambda: mlp(SHAPE, 10, 2, [64, 32])], ids=["lenet", "mlp"])
@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("graphs", [True, False], ids=["recorded", "eager"])
def test_a_step_trains_as_plain_torch_does(build: Any, settings: dict[str, Any], graphs: bool) -> None:
    """Through a change of learning rate and a shorter batch, weights and sums are as exact as plain torch's.

    A dozen steps are enough to warm up, to record and to replay before either and after it. After fifty, errors that
    grow with each step would tell nothing.
    """
    torch.manual_seed(0)
    recipe = Recipe.read({"batch_size": 32, "lr": 1e-3, **settings})
    data = images(torch.device("cuda"))

    def make(model: nn.Sequential, optimizer: Optimizer, average: WeightAverage | None) -> Step:
        return Step(model, data.batch, optimizer, recipe, data.device, average=average, graphs=graphs)

    batches = [(32, recipe.lr)] * (WARM_UP + 3) + [(25, recipe.lr)] + [(32, recipe.lr / 2)] * 4
    step = assert_trained_as_plainly(build().to(data.device), recipe, data, make, batches)
    assert step.running.images == sum(size for size, _ in batches)


@pytest.mark.parametrize("graphs", [True, False], ids=["replayed", "eager"])
def test_no_step_waits_for_the_device(graphs: bool) -> None:
    """No step reads from the device, which torch's own watch over synchronisation confirms."""
    train(lenet(SHAPE, 10), Recipe.read({"batch_size": 32, "lr": 1e-3}), graphs=graphs, strict=True)


def test_another_shape_is_refused() -> None:
    """A recording names the shape it is for and the one it was given."""
    total = torch.zeros((), device="cuda", dtype=torch.int64)

    def work(index: Tensor) -> None:
        total.add_(index.sum())

    replay = capture(work, torch.ones(4, device="cuda", dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\[4\], not \[3\]"):
        replay(torch.ones(3, device="cuda", dtype=torch.int64))


AUGMENTED: dict[str, dict[str, Any]] = {
    "augmentation": {"crop_padding": 2, "flip": True, "rotation": 10.0, "cutout": 4},
    "policies": {"randaugment": 2, "brightness": 0.3, "random_erasing": 0.5, "cutmix_alpha": 1.0, "mixup_alpha": 0.2},
    "distortion": {"elastic": 1.0, "zoom": 0.1, "shear": 5.0, "rotation": 5.0, "crop_padding": 1},
    "mixup": {"mixup_alpha": 0.3, "label_smoothing": 0.1},
    "both, averaged, clipped": {"flip": True, "mixup_alpha": 0.3, "ema_decay": 0.9, "gradient_clip": 1.0},
}


@pytest.mark.parametrize("settings", AUGMENTED.values(), ids=AUGMENTED)
def test_a_recorded_step_draws_the_numbers_that_an_eager_one_draws(settings: dict[str, Any]) -> None:
    """Replay after replay other ones, from where the step before ended; so the weights are the same."""
    device, recipe = torch.device("cuda"), Recipe.read({"batch_size": 32, "lr": 1e-3, **settings})
    weights = []
    for graphs in (True, False):
        torch.manual_seed(0)
        generator = torch.Generator(device).manual_seed(7)
        model = mlp(SHAPE, 10, 2, [64, 32]).to(device)
        step = Step(
            model, training_batch(images(device), recipe, generator), build_optimizer(model, recipe, device), recipe,
            device, mixup=mixer(recipe, generator), graphs=graphs, generators=[generator],
        )  # fmt: skip
        random = torch.Generator().manual_seed(1)
        for _ in range(WARM_UP + 8):
            step(torch.randint(0, 256, (32,), generator=random).to(device))
        weights.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def test_a_step_that_reads_a_value_cannot_be_recorded_and_the_stream_is_as_before() -> None:
    """What follows in this process is not to be trusted, but the error reaches the trainer."""
    before = torch.cuda.current_stream()
    with pytest.raises(CaptureFailed):
        capture(lambda index: print(index.sum().item()), torch.ones(4, device="cuda", dtype=torch.int64))
    assert torch.cuda.current_stream() == before
