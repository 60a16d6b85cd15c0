"""Kernels are taken where they compute what torch does, and left where they do not."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hpo.training.kernels import channels_last, convolutions, fused_train_step, native, own_choice
from hpo.training.kernels.rounding import agree

TRIALS = [fused_train_step, convolutions, channels_last]
# What a compiler could have made of the sources: the trial that finds it, the file, and what it would have read there.
WRONG = {
    "decay of weights left out": (fused_train_step, "layers.c", "g += r->decay * w;", ""),
    "mean of squares by another rate": (fused_train_step, "layers.c", "v += r->second *", "v += 1.001f * r->second *"),
    "part of a vector left out": (fused_train_step, "layers.c", "if (j < in) update_tile(", "if (0) update_tile("),
    "gradient of inputs by other weights": (
        fused_train_step,
        "layers.c",
        "sum += factor * old[o];",
        "sum += factor * g[o];",
    ),
    "a root of twelve bits": (fused_train_step, "layers.c", "root(v) * r->scale", "root(v) * 1.0002f * r->scale"),
    "labels not smoothed": (fused_train_step, "chain.c", "grad_output[c] * share - even;", "grad_output[c] * share;"),
    "gradient through a closed ReLU": (
        convolutions,
        "convolution.c",
        "pick(y[at + c] > 0, dy[at + c], zero)",
        "dy[at + c]",
    ),
    "gradient of weights a thousandth off": (
        convolutions,
        "convolution.c",
        "+= grad_output * x[",
        "+= 1.001f * grad_output * x[",
    ),
    "depthwise gradient off": (
        channels_last,
        "channels_last.c",
        "+= grad_output * weight[",
        "+= 1.0002f * grad_output * weight[",
    ),
    "overlapping windows do not add up": (channels_last, "channels_last.c", "] += (vec)((which", "] = (vec)((which"),
}


@pytest.mark.kernels
@pytest.mark.parametrize("module", TRIALS, ids=lambda module: module.__name__)
def test_what_the_compiler_makes_passes_its_trial(module: ModuleType) -> None:
    """Without this, kernels that are wrong would cost speed alone, and no test of what they compute would run them."""
    assert module._tried_kernels() is not None


@pytest.mark.kernels
@pytest.mark.parametrize(("module", "file", "right", "wrong"), WRONG.values(), ids=WRONG)
def test_kernels_that_compute_something_else_are_left(
    module: ModuleType, file: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the difference, if rounding does not make it."""
    for source in native.FOLDER.glob("*.[ch]"):
        shutil.copy(source, tmp_path)
    text = (tmp_path / file).read_text()
    assert right in text
    (tmp_path / file).write_text(text.replace(right, wrong))
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(native, "FLAGS", ("-O1", *native.FLAGS[1:]))  # compiles in a third of the time
    made = native.library.__wrapped__("channels_last" if module is channels_last else "chain")
    assert made is not None
    monkeypatch.setattr(module, "library", lambda name: made)
    assert module._tried_kernels.__wrapped__() is None


def test_what_is_not_a_number_agrees_with_nothing() -> None:
    """Nor does what is off by more than rounding."""
    exact = torch.ones(4, dtype=torch.float64)
    assert agree([exact.float()], [exact])
    assert not agree([torch.full((4,), torch.nan)], [exact])
    assert not agree([exact.float() * 1.0001], [exact])


@pytest.mark.kernels
def test_a_compiler_that_makes_wrong_code_is_found_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it makes loads, and computes with zeros where memory is copied, which convolution.c alone does not: none of
    the others is taken, and a sentence says so."""
    (tmp_path / "wrong.h").write_text("#include <string.h>\n#define memcpy(to, from, count) memset(to, 0, count)\n")
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\nexec {native._compiler()} -include {tmp_path}/wrong.h "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(native, "FLAGS", ("-O1", *native.FLAGS[1:]))
    made = {name: native.library.__wrapped__(name) for name in native.SOURCES}
    assert None not in made.values()
    for module in TRIALS:
        monkeypatch.setattr(module, "library", made.get)
        monkeypatch.setattr(module, "_tried_kernels", module._tried_kernels.__wrapped__)
    assert own_choice._tried() == [own_choice.WRONG.format("whole steps, channels-last layers")]
