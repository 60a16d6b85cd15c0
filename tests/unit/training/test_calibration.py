"""What is fast is measured where it trains: once, within its time; a trial keeps the ways that it began with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_jobs import MakeJob

from hpo.messages import Job
from hpo.models.lenet import lenet
from hpo.models.mlp import mlp
from hpo.settings import Settings
from hpo.training import fast_paths
from hpo.training.checkpoint import Checkpoints, TrainingSnapshot
from hpo.training.fit import fit
from hpo.training.kernels import calibration, channels_last, gemm, native, own_choice
from hpo.training.kernels.calibration import Stopwatch, measure, up_to
from hpo.training.kernels.choice import DEFAULT, NOTHING, Choice
from hpo.training.kernels.fused_sequential import fused_sequential
from hpo.training.progress import StopRequest
from hpo.training.train_val_split import DataCache

CPU = torch.device("cpu")
OTHER = Choice(one_call=16, one_call_narrow=0, onednn_from=None, depthwise=False)


class Clock:
    """Work takes what it says, and nothing else takes time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *seconds: float) -> Callable[[], None]:
        """Takes these seconds one after another, the last of them for ever."""
        left = list(seconds)

        def take() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return take


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_best_time_of_each_way_counts(clock: Clock) -> None:
    """The first call, which makes what is made once, does not; a busy machine is timed again, but not for ever."""
    watch = Stopwatch(1e9, clock, clock, patience=1e9)
    assert watch.ratio("quiet", clock.work(9.0, 0.2), clock.work(9.0, 0.1)) == pytest.approx(2.0)
    assert clock.now == pytest.approx(18.0 + calibration.ROUNDS * 0.3)
    clock.now = 0.0
    assert watch.ratio("busy", clock.work(0.1, 0.8, 0.7, 0.6, 0.2, 0.5), clock.work(0.1)) == pytest.approx(2.0)
    clock.now = 0.0
    falling = [0.5**number for number in range(20)]
    watch.ratio("never the same", clock.work(*falling), clock.work(*falling))
    assert clock.now == pytest.approx(2 * sum(falling[: 1 + calibration.MOST_ROUNDS]))
    assert watch.timings["quiet"] == (pytest.approx(2e5), pytest.approx(1e5))


def test_after_its_time_nothing_more_is_measured(clock: Clock) -> None:
    """By the processor's time or by the clock on the wall, on a machine that gives it none."""
    for watch in (Stopwatch(1.0, clock, lambda: 0.0), Stopwatch(1.0, lambda: clock.now / 100, clock, patience=1.0)):
        clock.now = 0.0
        assert watch.ratio("late", clock.work(0.6), clock.work(0.1)) > 1
        assert watch.ratio("later", clock.work(0.6), clock.work(0.1)) == 1.0
        assert list(watch.timings) == ["late"]


@pytest.mark.parametrize(
    ("faster", "end"),
    [
        ([2, 2, 2, 2], 64),
        ([2, 1, 0.92, 1], 32),
        ([2, 2, 2, 1.05], 32),
        ([2, 0.8, 2, 2], 8),
        ([0.8] * 4, 0),
        ([1] * 4, 32),
    ],
)
def test_the_usual_end_moves_only_where_it_clearly_pays(faster: list[float], end: int) -> None:
    """So that the noise of a measurement does not decide, and two measurements say the same."""
    steps = (8, 16, 32, 64)
    assert up_to(steps, 32, dict(zip(steps, faster, strict=True)).__getitem__) == end


class Said(Stopwatch):
    """Knows the ratios beforehand: by how much the other way of a row is faster, where its name has these words."""

    def __init__(self, **ratios: float) -> None:
        super().__init__()
        self._ratios = ratios
        self.asked: list[str] = []

    def ratio(self, name: str, usual: Any, other: Any) -> float:
        self.asked.append(name)
        return next((ratio for words, ratio in self._ratios.items() if words in name.replace(" ", "_")), 1.0)


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("ratios", "choice"),
    [
        ({}, DEFAULT),
        ({"wide,_96": 1.2}, replace(DEFAULT, one_call=96)),
        ({"wide,_64": 0.8}, replace(DEFAULT, one_call=32)),
        ({"lenet,_128_images:_products": 0.5}, replace(DEFAULT, one_call_narrow=64)),
        ({"products_": 2.0}, replace(DEFAULT, onednn_from=None)),
        ({"products_16_": 2.0}, replace(DEFAULT, onednn_from=16 * 400 * 120 + 1)),
        ({"lenet,_32_images:_without": 1.5}, replace(DEFAULT, stages=False)),
        ({"depthwise": 1.2, "pooling": 1.05, "pointwise": 1.2}, replace(DEFAULT, depthwise=False, pointwise=False)),
    ],
)
def test_what_is_clearly_faster_is_chosen(ratios: dict[str, float], choice: Choice) -> None:
    """Each of the ways by its own measurements, and no trial's random numbers are drawn for them."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert measure(Said(**ratios), bf16=True) == choice
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.kernels
def test_ways_that_are_compared_do_the_same_work(clock: Clock) -> None:
    """Each pair is run once, so that none of them fails on somebody's machine alone."""

    class Once(Stopwatch):
        def ratio(self, name: str, usual: Any, other: Any) -> float:
            usual()
            other()
            return 1.0

    assert measure(Once(), bf16=False) == DEFAULT


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """A machine where nothing was measured: what is measured from now on."""
    measured: list[object] = []

    def instead(watch: Stopwatch, *, bf16: bool) -> Choice:
        measured.append(bf16)
        return OTHER

    monkeypatch.setattr(calibration, "measure", instead)
    monkeypatch.setenv("HPO_NATIVE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(own_choice, "_tried", lambda path=None: [])
    return measured


def kept(folder: Path) -> Path:
    (file,) = folder.rglob("calibration-*.json")
    return file


def test_a_machine_is_measured_once(machine: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all its home folders; again where the file is gone or broken, or torch is another."""
    first = own_choice.own_choice(tmp_path / "one", bf16=False)
    assert first == own_choice.own_choice(tmp_path / "other", bf16=False)
    assert (first.choice, first.path, len(machine)) == (OTHER, str(kept(tmp_path)), 1)
    written = json.loads(kept(tmp_path).read_text())
    assert written["choice"] == OTHER.as_json()
    assert written["torch"] == torch.__version__
    kept(tmp_path).write_text(kept(tmp_path).read_text()[:99])
    assert own_choice.own_choice(tmp_path / "one", bf16=False).choice == OTHER
    kept(tmp_path).unlink()
    assert own_choice.own_choice(tmp_path / "one", bf16=False).choice == OTHER
    assert len(machine) == 3
    monkeypatch.setattr(torch, "__version__", "another")
    own_choice.own_choice(tmp_path / "one", bf16=False)
    assert len(machine) == 4


def test_where_nothing_can_be_kept_the_usual_is_taken_and_said(
    machine: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is read only each trainer would measure for itself, and two could go different ways."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = own_choice.own_choice(tmp_path / "home", bf16=False)
    assert (found.choice, found.notes) == (DEFAULT, (own_choice.NOT_KEPT,))
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", "none")
    (tmp_path / "file").touch()
    assert own_choice.own_choice(tmp_path / "file", bf16=False).choice == DEFAULT
    assert machine == []


def test_kernels_that_compute_something_else_are_told(
    machine: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that makes wrong code, and none: a sentence that every trainer repeats, measured once or not."""
    monkeypatch.undo()
    monkeypatch.setattr(calibration, "measure", lambda watch, *, bf16: DEFAULT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, said in (("convolutions", own_choice.WRONG.format("convolutions")), ("library", own_choice.MISSING)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "library", lambda library, name=name: None if name == "library" else object())
            for module in ("fused_train_step", "convolutions", "channels_last"):
                patch.setattr(f"hpo.training.kernels.{module}.usable", lambda module=module, name=name: module != name)
            first = own_choice.own_choice(tmp_path / name, bf16=False)
            assert first.notes == own_choice.own_choice(tmp_path / name, bf16=False).notes == (said,)
            kept(tmp_path).unlink()


@pytest.mark.parametrize(
    ("stored", "choice"),
    [
        ({}, DEFAULT),
        (OTHER.as_json(), OTHER),
        ({"one_call": -1, "onednn_from": None, "chains": 1, "later": 3}, replace(DEFAULT, onednn_from=None)),
        ({"one_call": True, "one_call_narrow": "9", "stages": None, "pooling": False}, replace(DEFAULT, pooling=False)),
        (NOTHING.as_json(), NOTHING),
    ],
)
def test_a_choice_is_read_from_anything(stored: dict[str, Any], choice: Choice) -> None:
    """Of another version, or changed by hand: what makes no sense is as usual."""
    assert Choice.from_json(stored) == choice


def test_a_choice_says_itself_in_words() -> None:
    words = OTHER.words()
    assert words == "one call of C up to 16 images (0 of narrow networks), no oneDNN, torch's own depthwise"
    assert DEFAULT.words().endswith("oneDNN from 0 multiplications")
    assert NOTHING.words() == "torch's own operators alone"


@pytest.mark.kernels
def test_networks_train_as_chosen() -> None:
    """By autograd where that is faster, and products by the library that is."""
    for model, left in ((mlp((1, 8, 8), 10, 1, [8]), "chains"), (lenet((1, 28, 28), 10), "stages")):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        shape = (1, 28, 28) if left == "stages" else (1, 8, 8)
        assert fused_sequential(model, shape, optimizer, 0.0, DEFAULT) is not None
        assert fused_sequential(model, shape, optimizer, 0.0, replace(DEFAULT, **{left: False})) is None


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["depthwise", "pooling", "pointwise", "native"])
def test_layers_are_left_to_torch_as_chosen(name: str) -> None:
    """Each by itself, and all of them without kernels. Depthwise ones stay in float32 under autocast all the same."""
    layers = {
        "depthwise": nn.Conv2d(8, 8, 3, groups=8, bias=False),
        "pooling": nn.MaxPool2d(2),
        "pointwise": nn.Conv2d(8, 4, 1, bias=False),
    }
    ours = {
        "depthwise": channels_last._DepthwiseConv2d,
        "pooling": channels_last._MaxPool2d,
        "pointwise": channels_last._PointwiseConv2d,
    }
    model = nn.ModuleDict(layers)
    with channels_last.fast_layers(model, CPU, replace(DEFAULT, **{name: False}))():
        taken = {each for each, layer in model.items() if type(layer) is ours[each]}
        assert taken == ({*layers} - {name} if name != "native" else set())
        if name == "depthwise":
            x = torch.randn(2, 8, 5, 5).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                assert model["depthwise"](x).dtype == torch.float32


@pytest.mark.parametrize(("onednn_from", "calls"), [(0, 2), (61, 0), (60, 2), (None, 0)])
def test_onednn_computes_products_from_a_size_on(
    onednn_from: int | None, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 x 4 x 5 is 60 multiplications; the products are the same."""
    seen: list[object] = []

    def onednn(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *_: object) -> torch.Tensor:
        seen.append(x)
        return nn.functional.linear(x, weight, bias)

    monkeypatch.setattr(gemm, "_ONEDNN", onednn)
    x, weight, bias = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)
    found = gemm.linear(x, weight, bias, relu=False, onednn_from=onednn_from)
    assert torch.allclose(found, nn.functional.linear(x, weight, bias))
    assert torch.allclose(gemm.product(x, weight.t(), onednn_from), x @ weight.t())
    assert len(seen) == calls


def finished_with(job: Job, data: DataCache, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Choice]:
    """What a trial records that trained it, and what did."""
    seen: list[Choice] = []

    def watched(*given: Any) -> Any:
        seen.append(given[-1])
        return fused_sequential(*given)

    monkeypatch.setattr("hpo.training.kernels.fused_sequential.fused_sequential", watched)
    ended = fit(job, data, CPU, lambda epoch: None, StopRequest())
    return ended.facts["kernels"], seen[0]


def test_a_trial_records_what_trained_it_and_another_is_trained_as_it_says(
    make_job: MakeJob, data: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's own choice; one that the job names, as `hpo reproduce` does; none with HPO_NATIVE=0."""
    monkeypatch.setattr(fast_paths, "_settings", None)
    monkeypatch.setattr(fast_paths, "_own", (Settings.read(), own_choice.OwnChoice(OTHER)))
    job = make_job(protocol={"epochs": 1})
    assert finished_with(job, data, monkeypatch) == (OTHER.as_json(), OTHER)
    named = replace(OTHER, one_call=7)
    assert finished_with(replace(job, kernels=named.as_json()), data, monkeypatch) == (named.as_json(), named)
    assert finished_with(replace(job, kernels={"unmeasured": True}), data, monkeypatch)[1] == DEFAULT
    monkeypatch.setenv("HPO_NATIVE", "0")
    assert fast_paths.resolved(named.as_json(), CPU) == NOTHING.as_json()
    assert fast_paths.resolved(named.as_json(), torch.device("cuda")) == {}


@pytest.mark.parametrize("before", ["measured", "of an earlier version"])
def test_a_resumed_trial_goes_on_as_it_began(
    before: str, make_job: MakeJob, data: DataCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is fast on the machine that resumes it; other ways would round otherwise."""
    monkeypatch.setattr(fast_paths, "_settings", None)
    monkeypatch.setattr(fast_paths, "_own", (Settings.read(), own_choice.OwnChoice(OTHER)))
    stop = StopRequest()
    job = make_job(checkpoint=tmp_path / "trial", protocol={"epochs": 2})

    def halt(epoch: object) -> None:
        stop.keep, stop.asked = True, True

    assert fit(job, data, CPU, halt, stop).outcome == "stopped"
    checkpoints = Checkpoints(job, pytest.fail)
    snapshot = checkpoints.load()
    assert snapshot is not None
    assert snapshot.progress["kernels"] == OTHER.as_json()
    if before == "of an earlier version":
        progress = {name: value for name, value in snapshot.progress.items() if name != "kernels"}
        assert checkpoints.save(TrainingSnapshot(progress, snapshot.tensors))
    monkeypatch.setattr(fast_paths, "_own", (Settings.read(), own_choice.OwnChoice(replace(OTHER, one_call=9))))
    began = OTHER if before == "measured" else DEFAULT
    assert finished_with(job, data, monkeypatch) == (began.as_json(), began)
