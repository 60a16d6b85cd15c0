"""When a step is run eagerly, recorded and replayed; the recording itself is tested on a GPU (tests/system/gpu)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from hpo import trainer
from hpo.channel import Channel
from hpo.data import Dataset
from hpo.errors import StudyError
from hpo.messages import Job
from hpo.models import MODELS, Model, named_model
from hpo.study.discovery import FoundStudy, list_studies
from hpo.study.study import Study
from hpo.trainers.jobs import study_job
from hpo.training import graphs
from hpo.training.average import WeightAverage
from hpo.training.backlog import MARKS, Backlog
from hpo.training.configuration import Recipe
from hpo.training.graphs import WARM_UP, CaptureFailed, Replayed, Work, may_record
from hpo.training.step import Step
from hpo.training.train_state import TrainState

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


def test_every_batch_is_trained_once() -> None:
    """Warm-up runs the work, then one recording is made and replayed; a shorter batch is run as it is."""
    trained: list[tuple[str, int]] = []
    recorded: list[int] = []

    def work(index: Tensor) -> None:
        trained.append(("eager", int(index[0])))

    def record(work: Work, index: Tensor, generators: Sequence[Generator]) -> Work:
        recorded.append(len(index))
        return lambda index: trained.append(("replayed", int(index[0])))

    step = Replayed(work, 4, (), record)
    step(torch.tensor([100, 0]))
    for number in range(WARM_UP + 2):
        step(torch.full((4,), number))
    step(torch.tensor([200]))
    ways = ["eager", *["eager"] * WARM_UP, "replayed", "replayed", "eager"]
    assert trained == list(zip(ways, [100, *range(WARM_UP + 2), 200], strict=True))
    assert recorded == [4]
    step.begin_anew()  # what trains has changed
    for number in range(WARM_UP + 1):
        step(torch.full((4,), 300 + number))
    assert [way for way, number in trained if number >= 300] == [*["eager"] * WARM_UP, "replayed"]
    assert recorded == [4, 4]


@pytest.mark.parametrize("name", MODELS)
def test_hpos_own_models_are_recorded_and_others_that_ask_for_it(name: str, make_job: Any) -> None:
    """A network of the user's may read a value in its forward pass, or decide something there that would be frozen."""
    own = make_job(name)
    assert may_record(own, GPU)
    assert not may_record(own, CPU)
    theirs = make_job(builder="synthetic:normed")
    assert not may_record(theirs, GPU)
    assert may_record(replace(theirs, model={**theirs.model, "cuda_graphs": True}), GPU)
    by_name = named_model("torchvision:resnet18")
    assert by_name is not None
    assert not may_record(replace(own, model={"builder": by_name.builder, "reads": []}), GPU)


def study_of(model: Model) -> Study:
    data = Dataset("synthetic:load", shape=(1, 28, 28), classes=tuple("0123456789"))
    return Study(name="graphs", dataset=data, model=model, space={"batch_size": 64, "lr": 0.1}, baseline={})


def test_a_study_says_that_its_model_may_be_recorded() -> None:
    """The job of one that does not is the same as ever: its checkpoints and recorded trials are found by it."""
    asked, plain = (
        study_job(FoundStudy(study_of(model), ""), {}) for model in (Model("a:b", cuda_graphs=True), Model("a:b"))
    )
    assert may_record(asked, GPU)
    assert plain.model == {"builder": "a:b", "reads": []}
    with pytest.raises(StudyError, match="cuda_graphs='yes'"):
        study_of(Model("a:b", cuda_graphs="yes"))  # type: ignore[arg-type]


OWN_NETWORKS = [one.study.name for one in list_studies() if one.study.model in MODELS]  # not those of torchvision


@pytest.mark.parametrize("name", OWN_NETWORKS)
def test_the_baseline_of_every_study_is_recorded(name: str) -> None:
    """Averaged weights, augmentation, mixup, clipping and schedules included, from full batches."""
    found = next(one for one in list_studies() if one.study.name == name)
    assert may_record(study_job(found, found.study.baseline_config), GPU)


class Recorder:
    """In place of CUDA: what is recorded runs eagerly whenever it is replayed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.generators: list[Generator] = []
        self.recordings = 0
        monkeypatch.setattr("hpo.training.train_state.may_record", lambda job, device: True)
        monkeypatch.setattr(graphs, "capture", self.capture)

    def capture(self, work: Work, index: Tensor, generators: Sequence[Generator]) -> Work:
        self.recordings += 1
        self.generators += generators
        return work


RECIPES: dict[str, dict[str, Any]] = {
    "augmentation": {"crop_padding": 1, "flip": True, "rotation": 5.0, "cutout": 2},
    "policies": {"alternating_flip": True, "contrast": 0.3, "trivial_augment": True, "random_erasing": 0.5},
    "distortion": {"elastic": 1.0, "zoom": 0.1, "shear": 5.0, "rotation": 5.0, "crop_padding": 1},
    "mixup, label smoothing": {"mixup_alpha": 0.3, "label_smoothing": 0.1},
    "CutMix or mixup": {"cutmix_alpha": 1.0, "mixup_alpha": 0.3},
    "average, clipping, schedule": {"ema_decay": 0.9, "gradient_clip": 1.0, "schedule": "cosine"},
    "frozen at first": {"freeze_epochs": 1},
}


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
def test_every_recipe_is_recorded_with_its_generator(
    settings: dict[str, Any], data: Any, device: torch.device, make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a recording draws from has to be registered with it. Where other weights train, it is made anew."""
    job = make_job(**settings)
    recorder = Recorder(monkeypatch)
    state = TrainState(job, Recipe.read(job.config), data.parts(job), device, 0)
    for epoch in range(2):
        state.begin_epoch(epoch)
        for number, index in enumerate(state.batches(epoch)):
            state.set_lr(number)
            state.step(index)
    assert recorder.recordings == (2 if "freeze_epochs" in settings else 1)
    assert all(generator is state.generator for generator in recorder.generators)
    eager = TrainState(job, Recipe.read(job.config), data.parts(job), device, 0, record=False)
    for epoch in range(2):
        eager.begin_epoch(epoch)
        for number, index in enumerate(eager.batches(epoch)):
            eager.set_lr(number)
            eager.step(index)
    for name, weights in state.model.state_dict().items():
        assert torch.equal(weights, eager.model.state_dict()[name]), name


class Graph:
    """A torch.cuda.CUDAGraph that records what is registered with it."""

    registered: list[Generator]

    def __init__(self) -> None:
        Graph.registered = []

    def register_generator_state(self, generator: Generator) -> None:
        self.registered.append(generator)


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: nullcontext())
    monkeypatch.setattr(graphs, "_side_stream", lambda: None)


def test_generators_are_registered_before_the_recording(no_cuda: None) -> None:
    generator = torch.Generator()
    graphs.capture(lambda index: None, torch.arange(3), [generator])
    assert Graph.registered == [generator]


def test_a_step_that_reads_a_value_is_trained_eagerly_by_a_fresh_process(
    no_cuda: None, make_job: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no end of the trial, whoever catches exceptions on the way, and it is said once."""

    def reads(index: Tensor) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    with pytest.raises(CaptureFailed, match="not permitted when stream is capturing") as failed:
        graphs.capture(reads, torch.arange(3))
    assert not isinstance(failed.value, Exception)
    job = make_job(builder="synthetic:normed")

    def fit(*_: Any) -> Any:
        raise failed.value

    monkeypatch.setattr(trainer, "fit", fit)
    channel = Channel(None, in_process=True)  # type: ignore[arg-type]
    with pytest.raises(CaptureFailed):
        trainer._answer(job, channel, None, CPU, True)  # type: ignore[arg-type]
    assert trainer._not_to_record(job, failed.value) == "synthetic:normed"
    said = capsys.readouterr().err
    assert "the training step of synthetic:normed cannot be recorded (RuntimeError: CUDA error" in said


def test_a_recording_that_memory_ended_is_tried_eagerly_for_that_trial_alone(no_cuda: None, make_job: Any) -> None:
    """Its memory comes on top of that of the eager steps, so the trial may well fit."""

    def grows(index: Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    with pytest.raises(CaptureFailed) as failed:
        graphs.capture(grows, torch.arange(3))
    job: Job = make_job()
    assert trainer._not_to_record(job, failed.value) == job.key


class Marks:
    """A device that takes so long for a step: a mark is passed when all steps before it are done."""

    def __init__(self, step_seconds: float) -> None:
        self.step_seconds, self.now, self.queued, self.behind = step_seconds, 0.0, 0, 0.0

    def __call__(self) -> Marks.Mark:
        return Marks.Mark(self)

    class Mark:
        def __init__(self, device: Marks) -> None:
            self.device, self.passes = device, 0.0

        def record(self) -> None:
            self.passes = self.device.queued * self.device.step_seconds

        def synchronize(self) -> None:
            self.device.now = max(self.device.now, self.passes)


@pytest.mark.parametrize("step_seconds", [20e-6, 5e-3, 0.2])
def test_the_host_runs_ahead_by_a_fraction_of_a_second(step_seconds: float) -> None:
    """Whatever a step takes: a trial that is to stop has three seconds."""
    device = Marks(step_seconds)
    backlog = Backlog(device, lambda: device.now)
    for _ in range(2000):
        device.queued += 1
        device.now += 2e-6  # what the host takes to queue one
        backlog.queued()
        device.behind = max(device.behind, device.queued * step_seconds - device.now)
    assert device.behind <= max(0.3, (MARKS + 1) * step_seconds)
    assert device.behind >= 1.5 * step_seconds, "the device never runs dry"


def test_the_average_takes_in_recorded_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no part of the recording, which would repeat the weight of one step for ever."""
    monkeypatch.setattr("hpo.training.graphs.capture", lambda *_: lambda _: None)
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    recipe = Recipe.read({"batch_size": 4, "lr": 0.1, "ema_decay": 0.9})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    step = Step(model, lambda _: data, optimizer, recipe, CPU, average=average, graphs=True)
    for _ in range(WARM_UP + 3):
        step(torch.arange(4))
    assert average.updates == WARM_UP + 3
