"""How near to the exact result arithmetic in float32 has to come, said without a figure that one machine gave.

Exact is what plain torch computes in float64, whose rounding is half a billion times finer than what is judged. What
float32 may be off by is what plain torch in float32 is off by, here and now: another processor, another compiler and
another version of torch round otherwise, and each brings its own measure along. A test that compares so sees to it
that the result depends smoothly on what goes in: where it jumps (`clearance`) or is steep (`plain_training.smooth`),
two roundings of one computation differ by any factor, and no bound on them holds for a reason.

pytest.approx stays the measure of float64 scalars: its 1e-6 is far above their rounding, whoever rounds.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

EPS = torch.finfo(torch.float32).eps
FLOOR = 4.0
"""Rounding, in units of EPS, that is never held against us. Whatever is stored is rounded by up to half of one, and so
is each of the seven operations of an optimizer that lead there; by luck torch may have none of it."""
FALSE_ALARM = 1e-6
"""Of a statistical test: how often it may fail although what it tests is right. For another seed or another version of
what draws the numbers: the seed is fixed, and on one machine a test either fails or does not."""
CLEAR = 128 * EPS
"""Of a tie: eight times what float32 is off by in a sum of a thousand products, about sqrt(1000) / 2 EPS."""

Tensors = Mapping[str, Tensor]


def assert_as_exact(
    ours: Tensors,
    torchs: Sequence[Tensors],
    exact: Tensors,
    *,
    factor: float = 4.0,
    floor: float = FLOOR,
    eps: float = EPS,
) -> None:
    """Every tensor of `ours` is as near to the `exact` one as plain torch's in float32 are.

    ours:   by name, what is judged
    torchs: what plain torch gives in float32; the more ways of equal right (the images of a batch in other orders),
            the better known is what rounding does
    exact:  what plain torch gives in float64; tensors of whole numbers in it have to be met exactly
    eps:    of the precision that is judged, if it is not float32

    Errors are lengths: of the difference from the exact tensor, in units of its length. Ours may be `factor` times the
    largest of torch's and `floor` eps. The errors of two ways to add up the same numbers are random and of one size,
    but for the square root of the number of partial sums: 4 is a way with sixteen times as many.
    """
    assert torchs
    assert all(found.keys() == exact.keys() for found in (ours, *torchs))
    assert any(value.dtype == torch.float64 for value in exact.values()), "there is nothing exact"
    wrong = []
    for name, true in exact.items():
        if true.dtype != torch.float64:
            assert torch.equal(ours[name].cpu().to(true.dtype), true.cpu()), f"{name}: {ours[name]} is not {true}"
            continue
        error, theirs = _error(ours[name], true, eps), max(_error(found[name], true, eps) for found in torchs)
        if not error <= factor * theirs + floor:  # not a number is wrong too
            wrong.append(f"{name}: off by {error:.3g} eps, torch by {theirs:.3g}")
    assert not wrong, "\n".join(wrong)


def _error(found: Tensor, exact: Tensor, eps: float) -> float:
    """In units of eps."""
    assert found.shape == exact.shape, f"{list(found.shape)} is not {list(exact.shape)}"
    length = float((found.detach().double() - exact).norm())
    return length if length == 0.0 else length / (eps * float(exact.norm()))


class SharedDropout(nn.Module):
    """nn.Dropout whose mask is that of float32 in every precision, and whose rows are in `order` where they have one.

    The masks of nn.Dropout in float64 are others, and a row that has changed places would meet its neighbour's.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.order: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return input
        kept = torch.empty(input.shape, dtype=torch.float32).bernoulli_(1.0 - self.p)
        kept = kept if self.order is None else kept[self.order]
        return input * (kept.to(input.dtype) / (1.0 - self.p))


def twin(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of `model` that computes in `dtype`, with dropout by masks that the copies share."""
    copied = copy.deepcopy(model)
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, SharedDropout(child.p))
    return copied.to(dtype)


@torch.no_grad()
def clearance(model: nn.Sequential, images: Tensor) -> float:
    """How far `images` are from taking another branch in `model`: the nearest of all, of all images.

    The branches are the sign that a ReLU sees, the largest of each 2x2 window that is pooled, and the class with the
    largest logit; the distance is that of the value from zero, or from the second largest, in units of the root mean
    square of the values there. Rounding takes the other branch where the distance is of its size, and then a gradient
    is another by far more than rounding. A window without a value above zero has no gradient by either branch, where
    ReLU comes before or after the pooling, as it does here.
    """
    distances, x = [], images
    modules = list(model)
    for number, module in enumerate(modules):
        scale = x.square().mean().sqrt()
        following = modules[number + 1] if number + 1 < len(modules) else None
        if isinstance(module, nn.ReLU) and isinstance(following, nn.MaxPool2d):
            continue  # it changes places with the pooling: of a window only the largest value matters
        if isinstance(module, nn.MaxPool2d):
            largest = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).topk(2).values
            distances.append((largest[..., 0] - largest[..., 1])[largest[..., 0] > 0].min() / scale)
            x = module(x)
            if isinstance(modules[number - 1], nn.ReLU):
                distances.append(x.abs().min() / scale)
                x = x.relu()
            continue
        if isinstance(module, nn.ReLU):
            distances.append(x.abs().min() / scale)
        x = module(x)
    largest = x.topk(2).values
    distances.append((largest[:, 0] - largest[:, 1]).min() / x.square().mean().sqrt())
    return float(torch.stack(distances).min())


def accuracies(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The least and the largest accuracy of logits [N, classes] that rounding may make: of a tie either class wins."""
    largest, best = logits.double().topk(2)
    tied = largest[:, 0] - largest[:, 1] <= CLEAR * logits.double().square().mean().sqrt()
    right = best[:, 0] == labels
    least, most = (right & ~tied).sum(), (right | tied).sum()
    return float(least) / len(labels), float(most) / len(labels)
