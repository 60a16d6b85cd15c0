"""The runs of an evaluation as jobs for trainers, and the result of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from hpo.conforming import conforms
from hpo.evaluation.candidates import Candidate
from hpo.messages import Epoch, Finished, Job, Protocol
from hpo.seeds import evaluation_seed, trial_seed
from hpo.study.discovery import FoundStudy
from hpo.trainers.jobs import make_job
from hpo.trainers.trial import Trial

__all__ = ["EvaluationRun", "RunResult", "final_run", "search_run"]


@dataclass(frozen=True)
class EvaluationRun:
    """One training of one configuration with one seed."""

    candidate: Candidate
    label: str
    index: int
    job: Job

    @property
    def key(self) -> str:
        return self.job.key

    @property
    def epochs(self) -> int:
        return self.job.protocol.last_epoch

    @property
    def folder(self) -> Path:
        """The folder where the trainer leaves the weights."""
        return Path(self.job.checkpoint)


@dataclass(frozen=True)
class RunResult:
    """The result of a run. `curve` has one record per epoch: epoch, the epoch's metrics, seconds, at (UNIX time)."""

    seed: int
    device: str
    finished: Finished
    curve: list[dict[str, Any]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.finished.outcome == "complete"

    @property
    def deterministic(self) -> bool:
        """Whether the same run would end the same way again, so that the result can be kept."""
        return self.finished.outcome in ("complete", "diverged")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any] | None) -> RunResult | None:
        """The result that `as_json` wrote; None where the database has nothing, or something else, in its place."""
        if not conforms(fields, _StoredRun):
            return None
        assert fields is not None
        try:
            found = cls(**{**fields, "finished": Finished(**fields["finished"])})
        except TypeError:  # unknown fields
            return None
        measured = "test_accuracy" not in found.finished.metrics or conforms(found.finished.facts, _Measured)
        return found if found.deterministic and measured else None


class _StoredFinished(TypedDict):
    outcome: str
    epoch: int
    best_epoch: int
    metrics: dict[str, float | None]
    facts: dict[str, Any]
    reason: str
    details: list[str]


class _StoredEpoch(TypedDict):
    epoch: int
    at: float
    train_loss: NotRequired[float]
    train_accuracy: NotRequired[float]
    lr: NotRequired[float]
    own: NotRequired[dict[str, float]]


class _StoredRun(TypedDict):
    """A RunResult as the database holds it."""

    seed: int
    device: str
    finished: _StoredFinished
    curve: list[_StoredEpoch]


class _Mistake(TypedDict):
    index: int
    label: int
    predicted: int
    confidence: float
    image: str
    file: NotRequired[str]


class _Mistakes(TypedDict):
    count: int
    shown: list[_Mistake]


class _Measured(TypedDict):
    """What scoring the test split adds to the facts of a run."""

    test_images: int
    macro_f1: NotRequired[float]
    per_class_accuracy: NotRequired[list[float]]
    confusion: NotRequired[list[list[int]]]
    test_spread: NotRequired[dict[str, float]]
    residuals: NotRequired[list[list[list[float]]]]
    per_class_iou: NotRequired[list[float | None]]
    per_class_spread: NotRequired[list[float | None]]
    picture: NotRequired[str]
    mistakes: NotRequired[_Mistakes]
    latency_p50_ms: float
    latency_p95_ms: float
    images_per_second: float
    train_seconds: float


def final_run(
    found: FoundStudy, candidate: Candidate, index: int, used: Collection[int], folder: Path
) -> EvaluationRun:
    """Train `candidate` on train and validation with a fresh seed, and score the test split once.

    It stops after the candidate's epochs, while its schedule keeps the length it was tuned with.
    """
    study = found.study
    protocol = replace(study.protocol(), stop_after=candidate.epochs, folds=None, seeds=None, measure_latency=False)
    seed = evaluation_seed(study.seed, candidate.key, index, used)
    return _run(found, candidate, f"{candidate.name}, seed {index + 1}", index, protocol, seed, "final", folder)


def search_run(found: FoundStudy, candidate: Candidate, folder: Path) -> EvaluationRun:
    """Train `candidate` as the search did, with the same seed, and keep the best and the last weights.

    A candidate that the search never trained is trained as the next trial would be.
    """
    study = found.study
    protocol = replace(study.protocol(), keep_weights=True, folds=None, seeds=None, measure_latency=False)
    seed = candidate.trial_seed
    if seed is None:
        seed = trial_seed(study.seed, candidate.trial) if candidate.trial is not None else study.seed
    return _run(found, candidate, f"{candidate.name} as in the search", -1, protocol, seed, "search", folder)


def curve_row(epoch: Epoch) -> dict[str, Any]:
    own = {"own": epoch.own} if epoch.own else {}
    return {"epoch": epoch.epoch, **epoch.metrics, **own, "seconds": epoch.seconds, "at": epoch.at}


def _run(
    found: FoundStudy,
    candidate: Candidate,
    label: str,
    index: int,
    protocol: Protocol,
    seed: int,
    phase: str,
    folder: Path,
) -> EvaluationRun:
    trial = Trial(0, 0, 1, dict(candidate.params), dict(candidate.config), "")
    job = replace(make_job(found, trial), protocol=protocol, seed=seed, phase=phase)
    run = EvaluationRun(candidate, label, index, job)
    return replace(run, job=replace(job, checkpoint=str(folder / run.key)))
