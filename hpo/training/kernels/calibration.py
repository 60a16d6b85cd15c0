"""What is faster on this machine: each way is timed on small networks before the first trial.

Two ways of one piece of work take turns, and the best time of each counts, in time of the processor: what else the
machine does counts little. The usual way (hpo.training.kernels.choice.DEFAULT) is left only where the other is a tenth
faster, so that a second measurement decides the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from hpo.models.lenet import lenet
from hpo.models.mlp import mlp
from hpo.torch_internals import spare_the_compiler
from hpo.training.kernels import gemm
from hpo.training.kernels.channels_last import fast_layers
from hpo.training.kernels.choice import DEFAULT, Choice
from hpo.training.kernels.fused_optimizer import Update, partial_update
from hpo.training.kernels.fused_sequential import FusedSequential, fused_sequential

__all__ = ["SECONDS", "Stopwatch", "measure", "measure_chains", "up_to"]

SECONDS = 1.6
"""Of the processor; then nothing more is timed. With what is under way, and what is made first, two at most."""
ROUNDS, MOST_ROUNDS = 3, 6
SHORTEST, MOST_CALLS = 3e-4, 10_000
"""Seconds that are timed at least: shorter work is repeated, so many times at most."""
STEADY = 1.05
"""How far the two best times of a way may lie apart; if they do not, the machine is busy and it is timed again."""
CLEARLY = 1.1
"""How many times as fast a way must be to replace the usual one."""

SHAPE = (1, 28, 28)
CPU = torch.device("cpu")
NEVER, ALWAYS = 0, 10**6
Builders = Mapping[str, Callable[[], nn.Module]]
WIDE: Builders = {"wide": lambda: mlp(SHAPE, 10, 2, [700, 700])}
NARROW: Builders = {"shallow": lambda: mlp(SHAPE, 10, 1, [800]), "lenet": lambda: lenet(SHAPE, 10)}
WIDE_IMAGES = (8, 16, 32, 64, 96, 128, 192, 256)
NARROW_IMAGES = (16, 64, 128, 256, 384)
PRODUCTS = ((16, 400, 120), (64, 400, 120), (64, 784, 100), (100, 784, 300), (100, 900, 900))
"""(images, inputs, outputs) of products, ordered by how many multiplications they are."""

Work = Callable[[], object]


class Stopwatch:
    """Compares ways as long as there is time. `timings`: by name, microseconds of the usual way and of the other.

    clock: seconds, of this thread's work; patience: seconds of `wall` after which the machine is too busy to go on
    """

    def __init__(
        self,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.thread_time,
        wall: Callable[[], float] = time.monotonic,
        patience: float = 10 * SECONDS,
    ) -> None:
        self.timings: dict[str, tuple[float, float]] = {}
        self._clock, self._wall = clock, wall
        self._end, self._wall_end = clock() + seconds, wall() + patience

    def ratio(self, name: str, usual: Work, other: Work) -> float:
        """How many times as fast `other` is; 1 where there is no time left to find out."""
        if self._over():
            return 1.0
        usual()  # makes what is made once
        other()
        first, second = list[float](), list[float]()
        for number in range(MOST_ROUNDS):
            if number and (self._over() or (number >= ROUNDS and _steady(first) and _steady(second))):
                break
            first.append(self._seconds(usual))
            second.append(self._seconds(other))
        self.timings[name] = (round(1e6 * min(first), 1), round(1e6 * min(second), 1))
        return min(first) / max(min(second), 1e-9)

    def _over(self) -> bool:
        return self._clock() >= self._end or self._wall() >= self._wall_end

    def _seconds(self, work: Work) -> float:
        """Of one call; of several where one is too short for the clock."""
        began, calls, taken = self._clock(), 0, 0.0
        while taken < SHORTEST and calls < MOST_CALLS:
            work()
            calls += 1
            taken = self._clock() - began
        return taken / calls


def measure(watch: Stopwatch, *, bf16: bool) -> Choice:
    """What is fast here, by one thread. Draws no random numbers that a trial would miss. bf16: the hardware has it."""
    with _undisturbing():
        choice = replace(DEFAULT, **_layers(watch, bf16=bf16))
        choice = replace(choice, onednn_from=_onednn_from(watch))
        # Before the long rows below, for which the time may not last: a chain that is slower than torch costs the most.
        choice = replace(
            choice, chains=measure_chains(watch, "wide", choice), stages=measure_chains(watch, "lenet", choice)
        )
        return replace(
            choice,
            one_call=_most_images(watch, WIDE, WIDE_IMAGES, choice, DEFAULT.one_call),
            one_call_narrow=_most_images(watch, NARROW, NARROW_IMAGES, choice, DEFAULT.one_call_narrow),
        )


def up_to(steps: Sequence[int], usual: int, faster: Callable[[int], float]) -> int:
    """The last of `steps` (ascending) up to which a way that usually ends at `usual` is taken; 0 where it never is.

    faster: by how much the way is faster at a step. It takes a tenth to move the end.
    """
    found = 0
    for step in steps:
        if faster(step) < (1 / CLEARLY if step <= usual else CLEARLY):
            break
        found = step
    return found


def _onednn_from(watch: Stopwatch) -> int | None:
    """From how many multiplications on: beyond the largest product of those, from the smallest on, that torch wins."""
    if not gemm.HAS_ONEDNN:
        return DEFAULT.onednn_from
    last = 0
    for images, inputs, outputs in PRODUCTS:
        ways = [_products(images, inputs, outputs, onednn_from) for onednn_from in (0, None)]
        if watch.ratio(f"products {images} x {inputs} x {outputs}: oneDNN, torch", *ways) < CLEARLY:
            break
        last = images * inputs * outputs
    else:
        return None
    return last and last + 1


def _products(images: int, inputs: int, outputs: int, onednn_from: int | None) -> Work:
    """The three products of a layer's step."""
    x, weight, bias = torch.randn(images, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    grad_output = torch.randn(images, outputs)

    @torch.no_grad()
    def work() -> None:
        gemm.linear(x, weight, bias, relu=False, onednn_from=onednn_from)
        gemm.product(grad_output.t(), x, onednn_from)
        gemm.product(grad_output, weight, onednn_from)

    return work


@dataclass(frozen=True)
class _Step:
    """A chain with batches of any size."""

    chain: FusedSequential

    def of(self, images: int) -> Work:
        batch = _batch(images)
        return lambda: self.chain.learn(*batch)


def _most_images(
    watch: Stopwatch,
    networks: Builders,
    steps: Sequence[int],
    choice: Choice,
    usual: int,
) -> int:
    """Up to how many images a step in one call is faster than by products."""
    pairs: dict[str, tuple[_Step, _Step]] = {}
    for name, build in networks.items():
        ways = [_chain(build, replace(choice, one_call=most, one_call_narrow=most)) for most in (NEVER, ALWAYS)]
        steps_of = [_Step(way) for way in ways if way is not None and way.has_one_call]
        if len(steps_of) == len(ways):
            pairs[name] = steps_of[0], steps_of[1]
    if not pairs:
        return usual

    def faster(images: int) -> float:
        product = 1.0
        for name, (products, one_call) in pairs.items():
            row = f"{name}, {images} images: products, one call"
            product *= watch.ratio(row, products.of(images), one_call.of(images))
        return math.pow(product, 1 / len(pairs))

    return up_to(steps, usual, faster)


def measure_chains(watch: Stopwatch, name: str, choice: Choice) -> bool:
    """Whether training without autograd is as fast as torch with a fused optimizer, for few images and for many."""
    build = {**WIDE, **NARROW}[name]
    chain = _chain(build, choice)
    if chain is None:
        return True
    model = build()
    parameters = list(model.parameters())
    update = partial_update(Adam(parameters, lr=1e-6, fused=True), parameters)
    if update is None:
        return True
    product = 1.0
    for images in (32, 128):
        row = f"{name}, {images} images: without autograd, with it"
        plain = partial(_by_autograd, model, update, *_batch(images))
        product *= watch.ratio(row, _Step(chain).of(images), plain)
    return product < CLEARLY


def _chain(build: Callable[[], nn.Module], choice: Choice) -> FusedSequential | None:
    model = build()
    return fused_sequential(model, SHAPE, Adam(model.parameters(), lr=1e-6, fused=True), 0.0, choice)


def _by_autograd(model: nn.Module, update: Update, images: Tensor, labels: Tensor) -> None:
    """With torch's kernel for the step, but not its `Adam.step`, which imports torch's compiler."""
    parameters = list(model.parameters())
    update(torch.autograd.grad(F.cross_entropy(model(images), labels), parameters))


def _layers(watch: Stopwatch, *, bf16: bool) -> dict[str, bool]:
    """Of channels-last networks on CIFAR: MobileNet V3's, SqueezeNet's and V3's again, on 64 images."""
    rows: dict[str, tuple[nn.Module, Tensor]] = {
        "depthwise": (nn.Conv2d(240, 240, 5, padding=2, groups=240, bias=False), torch.randn(64, 240, 4, 4)),
        "pooling": (nn.MaxPool2d(3, 2), torch.randn(64, 96, 32, 32)),
    }
    if bf16:
        rows["pointwise"] = nn.Conv2d(96, 96, 1, bias=False), torch.randn(64, 96, 8, 8)
    found = {}
    for name, (layer, images) in rows.items():
        ways = [_layer(layer, images, replace(DEFAULT, **{name: taken}), bf16) for taken in (True, False)]
        found[name] = watch.ratio(f"{name}: here, torch", *ways) < CLEARLY
    return found


def _layer(layer: nn.Module, images: Tensor, choice: Choice, half: bool) -> Work:
    """Forward and backward."""
    layer = layer.to(memory_format=torch.channels_last)
    dtype = torch.bfloat16 if half else torch.float32
    x = images.to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    context = fast_layers(layer, CPU, choice)

    def work() -> None:
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=half), context():
            y = layer(x)
        y.backward(torch.ones_like(y))

    return work


def _batch(images: int) -> tuple[Tensor, Tensor]:
    return torch.randn(images, *SHAPE), torch.randint(10, (images,))


@contextmanager
def _undisturbing() -> Iterator[None]:
    """One thread, with gradients, and nobody else's random numbers."""
    spare_the_compiler()
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        torch.set_num_threads(1)
        stack.callback(torch.set_num_threads, threads)
        stack.enter_context(torch.random.fork_rng([]))
        torch.manual_seed(0)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        yield


def _steady(times: Sequence[float]) -> bool:
    best, second = sorted(times)[:2]
    return second <= STEADY * best
