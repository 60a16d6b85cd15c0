"""Optimizers, schedules, stopping, averages: each against plain torch or by hand."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
import torch
from numerics import EPS, FLOOR, assert_as_exact
from plain_training import smooth
from torch import nn

from hpo.errors import DeviceError, StudyError
from hpo.messages import EarlyStoppingRule, Protocol, StopRule
from hpo.study.recipe import OPTIMIZERS as OPTIMIZER_NAMES
from hpo.study.recipe import RECIPE
from hpo.study.recipe import SCHEDULES as SCHEDULE_NAMES
from hpo.training.average import WeightAverage
from hpo.training.configuration import Recipe, derive_seed
from hpo.training.device import open_device
from hpo.training.optimizers import OPTIMIZERS, build_optimizer, optimizer_tensors, restore_optimizer, set_lr
from hpo.training.schedules import SCHEDULES, LearningRate, TrainLength
from hpo.training.stopping import Stopping

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")


def recipe(**config: Any) -> Recipe:
    return Recipe.read({"batch_size": 4, "lr": 0.1, **config})


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def descend(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 1, *, backwards: bool = False
) -> None:
    """`steps` steps on four rows each, taken from the last to the first if `backwards`: a mean knows no order."""
    random = torch.Generator().manual_seed(seed)
    dtype = next(model.parameters()).dtype
    for _ in range(steps):
        rows = torch.randn(4, 6, generator=random).to(dtype)
        model(rows.flip(0) if backwards else rows).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_the_record_has_every_setting_of_the_table() -> None:
    """A setting added to RECIPE without a field here would silently not be read."""
    assert [field.name for field in fields(Recipe)] == list(RECIPE)
    assert {*OPTIMIZERS, "muon"} == set(OPTIMIZER_NAMES)
    assert set(SCHEDULES) == set(SCHEDULE_NAMES)


def test_a_bad_or_missing_setting_is_named() -> None:
    """StudyError says which setting and which value."""
    with pytest.raises(StudyError, match="no lr"):
        Recipe.read({"batch_size": 1})
    with pytest.raises(StudyError, match="mixup_alpha=-1"):
        recipe(mixup_alpha=-1.0)


PLAIN: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01, "foreach": False}
REFERENCES = {
    "adam": lambda p: torch.optim.Adam(p, **PLAIN),
    "adamw": lambda p: torch.optim.AdamW(p, **PLAIN),
    "sgd": lambda p: torch.optim.SGD(p, momentum=0.9, nesterov=True, **PLAIN),
    "rmsprop": lambda p: torch.optim.RMSprop(p, momentum=0.9, **PLAIN),
    "nadam": lambda p: torch.optim.NAdam(p, **PLAIN),
    "radam": lambda p: torch.optim.RAdam(p, **PLAIN),
    "adafactor": lambda p: torch.optim.Adafactor(p, **PLAIN),
}


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "adafactor"])
def test_an_optimizer_steps_as_plain_torch_does(name: str) -> None:
    """Five steps of the fast implementation end as near to where they exactly end as the plain one's."""
    found = []
    for dtype, backwards in ((torch.float64, False), (torch.float32, False), (torch.float32, True)):
        plain = network().to(dtype)
        descend(plain, smooth(REFERENCES[name](plain.parameters())), 5, backwards=backwards)
        found.append(plain.state_dict())
    exact, *torchs = found
    ours = network()
    settings = recipe(optimizer=name, momentum=0.9, nesterov=True, weight_decay=0.01)
    descend(ours, smooth(build_optimizer(ours, settings, CPU)), 5)
    assert_as_exact(ours.state_dict(), torchs, exact)


@pytest.mark.parametrize("name", REFERENCES)
def test_an_optimizer_has_the_options_that_torch_gives_it(name: str) -> None:
    """But for those that choose the implementation: eps, above all, which steps tell little of."""
    model = network()
    settings = recipe(optimizer=name, momentum=0.9, nesterov=True, weight_decay=0.01)
    (ours,), (torchs,) = (
        optimizer.param_groups
        for optimizer in (build_optimizer(model, settings, CPU), REFERENCES[name](model.parameters()))
    )
    ways = {"params", "fused", "foreach", "capturable"}
    assert {name: ours[name] for name in ours.keys() - ways} == {name: torchs[name] for name in torchs.keys() - ways}


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_an_optimizer_put_back_goes_on_bit_for_bit(name: str) -> None:
    """State saved after 3 steps and restored gives the weights of 6 steps, also with channels-last weights."""
    settings = recipe(optimizer=name, momentum=0.9, weight_decay=0.01, decay_norm_and_bias=False)

    def convolution() -> nn.Module:
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Unflatten(1, (6, 1, 1)), nn.Conv2d(6, 4, 3, padding=1), nn.Flatten())
        return layers.to(memory_format=torch.channels_last)

    straight = convolution()
    optimizer = build_optimizer(straight, settings, CPU)
    descend(straight, optimizer, 3, seed=1)
    weights = {key: value.clone() for key, value in straight.state_dict().items()}
    state = {key: value.clone().contiguous() for key, value in optimizer_tensors(optimizer).items()}
    descend(straight, optimizer, 3, seed=2)

    resumed = convolution()
    resumed.load_state_dict(weights)
    again = build_optimizer(resumed, settings, CPU)
    restore_optimizer(again, state)
    descend(resumed, again, 3, seed=2)
    for mine, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_norm_and_bias_are_left_without_decay_where_asked() -> None:
    """One-dimensional parameters keep their size when nothing pulls at them."""
    model = network()
    optimizer = build_optimizer(model, recipe(optimizer="sgd", weight_decay=0.5, decay_norm_and_bias=False), CPU)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decays[id(p)] for p in model.parameters()] == [0.5, 0.0, 0.5, 0.0]
    set_lr(optimizer, 0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


def rates(settings: Recipe, horizon: TrainLength) -> list[float]:
    schedule = LearningRate(settings, horizon)
    return [schedule.lr(step) for step in range(horizon.steps)]


def reference_rates(make: Any, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_schedules_are_those_of_torch() -> None:
    """cosine, step and one_cycle give torch's learning rates at every step; none is constant."""
    schedulers, horizon = torch.optim.lr_scheduler, TrainLength(7, 6)
    cosine = reference_rates(lambda o: schedulers.CosineAnnealingLR(o, horizon.steps), horizon.steps)
    assert rates(recipe(schedule="cosine"), horizon) == pytest.approx(cosine)
    step = reference_rates(lambda o: schedulers.StepLR(o, 2 * 7, 0.3), horizon.steps)
    assert rates(recipe(schedule="step", schedule_epochs=2, schedule_factor=0.3), horizon) == pytest.approx(step)
    cycle = reference_rates(lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=horizon.steps), horizon.steps - 1)
    assert rates(recipe(schedule="one_cycle"), horizon)[:-1] == pytest.approx(cycle)
    cycle = reference_rates(
        lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=horizon.steps, pct_start=0.25), horizon.steps - 1
    )
    assert rates(recipe(schedule="one_cycle", warmup_epochs=1.5), horizon)[:-1] == pytest.approx(cycle)
    assert set(rates(recipe(), horizon)) == {0.1}


@pytest.mark.parametrize("name", ["none", "cosine", "step", "plateau"])
def test_warm_up_is_linear_from_a_hundredth(name: str) -> None:
    """Over 1.5 epochs of ten steps the rate climbs from lr/100 to lr."""
    found = rates(recipe(schedule=name, warmup_epochs=1.5), TrainLength(10, 5))
    assert found[:15] == pytest.approx([0.1 * (0.01 + 0.99 * step / 15) for step in range(15)])
    assert found[15] == pytest.approx(0.1)


def test_plateau_drops_as_torch_does_and_can_be_put_back() -> None:
    """The factor follows ReduceLROnPlateau over a loss that stalls, across a save."""
    losses = [2.0, 1.0, 1.1, 1.2, 1.0, 0.99, 1.0, 1.0, 1.0, 1.0, 1.0]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    settings = recipe(schedule="plateau", schedule_patience=1)
    schedule = LearningRate(settings, TrainLength(1, 20))
    for loss in losses:
        reference.step(loss)
        schedule.epoch_done({"val_loss": loss})
        fresh = LearningRate(settings, TrainLength(1, 20))
        fresh.load_state_dict(schedule.state_dict())
        schedule = fresh
        assert schedule.lr(0) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert schedule.lr(0) < 0.1


def stopping(monitor: str = "val_accuracy", patience: int = 2, min_delta: float = 0.0) -> Stopping:
    early = EarlyStoppingRule(monitor, patience, min_delta)
    return Stopping(Protocol(epochs=10, objectives=("val_accuracy",), early_stopping=early))


def test_early_stopping_waits_for_its_patience() -> None:
    """Two epochs without a better score end it, and the best epoch is known."""
    rule, ends = stopping(), []
    for epoch, score in enumerate([0.5, 0.6, 0.55, 0.7, 0.7, 0.65], start=1):
        rule.update(epoch, {"val_accuracy": score})
        ends.append(rule.over)
    assert ends == [False] * 5 + [True]
    assert rule.best_epoch == 4


def test_small_gains_make_the_best_epoch_but_do_not_buy_patience() -> None:
    """With min_delta 0.1, losses that fall by 0.05 are each the best so far, and training ends after two of them."""
    rule, best = stopping("val_loss", min_delta=0.1), []
    for epoch, loss in enumerate([1.0, 0.95, 0.91], start=1):
        best.append(rule.update(epoch, {"val_loss": loss}))
    assert best == [True, True, True]
    assert rule.over


def test_stop_when_needs_both_epoch_and_score() -> None:
    """The rule "epoch >= 3 and accuracy >= 0.8" is not met before both are."""
    rule = Stopping(Protocol(10, ("val_loss",), stop_when=StopRule(3, "val_accuracy", 0.8)))
    met = []
    for epoch, accuracy in enumerate([0.9, 0.9, 0.7, 0.8], start=1):
        rule.update(epoch, {"val_accuracy": accuracy, "val_loss": 1.0})
        met.append(rule.over)
    assert met == [False, False, False, True]


def test_the_average_follows_the_weights_and_changes_places_with_them() -> None:
    """After two updates the average is what the formula says; inside `in_place` the model computes with it."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = WeightAverage(model, 0.15)
    for value in (1.0, 2.0):
        nn.init.constant_(model.weight, value)
        average.update()
    expected = 0.15 * 0.9 * 1.0 + 0.85 * 2.0  # decays min(0.15, 1/10) and min(0.15, 2/11)
    with average.in_place():
        assert model.weight.item() == pytest.approx(expected, rel=FLOOR * EPS)
    assert model.weight.item() == 2.0
    average.adopt()
    assert model.weight.item() == pytest.approx(expected, rel=FLOOR * EPS)


def test_a_long_average_skips_steps_and_is_the_same_average() -> None:
    """Of weights that drift for 20,000 steps, every tenth is enough for a decay of 0.999; none is skipped at first.

    A weight that moves by at most 1 / 2,000 in a step is taken in at most nine steps late, or early.
    """
    model = nn.Linear(1, 1, bias=False)
    average, exact = WeightAverage(model, 0.999), model.weight.item()
    taken = []
    for step in range(20_000):
        value = math.sin(step / 2_000)
        nn.init.constant_(model.weight, value)
        before = average.tensors()["weight"].item()
        average.update()
        taken.append(average.tensors()["weight"].item() != before)
        decay = min(0.999, (1 + step) / (10 + step))
        exact = decay * exact + (1 - decay) * value
        if step % 1_000 == 999:
            assert average.tensors()["weight"].item() == pytest.approx(exact, abs=10 / 2_000)
    assert all(taken[1:1_000])
    assert sum(taken[-1_000:]) == 100


def test_devices_that_are_not_there_are_refused() -> None:
    """DeviceError names what was asked for."""
    for name in ("cuda:99", "nonsense", "mps"):
        with pytest.raises(DeviceError, match=name):
            open_device(name)


def test_seeds_of_different_purposes_differ() -> None:
    """And are the same every time."""
    assert derive_seed(1, "order", 2) == derive_seed(1, "order", 2)
    assert len({derive_seed(1, "order", 2), derive_seed(1, "order", 3), derive_seed(2, "order", 2)}) == 3
