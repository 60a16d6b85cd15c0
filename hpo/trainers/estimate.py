"""What a study will cost, estimated from a few rehearsed steps: seconds, memory, trials in a given time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.errors import StorageError
from hpo.messages import Inspected
from hpo.settings import Settings
from hpo.study.advice import wasteful
from hpo.study.declaration import check_same_declaration
from hpo.study.discovery import FoundStudy
from hpo.study.length import epochs_of
from hpo.study.pruners import NoPruner
from hpo.study.study import Study
from hpo.trainers.preflight import configurations, rehearse

__all__ = ["Inspection", "TrialEstimate", "compare_stored", "inspect_study", "notes"]


@dataclass(frozen=True)
class TrialEstimate:
    """One rehearsed configuration, and what a trial of it costs if it trains every epoch and fold."""

    config: Mapping[str, Any]
    parameters: int
    macs: int
    step_seconds: float
    epoch_seconds: float
    trial_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Inspection:
    """device_name as its vendor names it; built counts configurations; the two estimates: least and most arithmetic.

    sample: what a network will see, as hpo.training.sample gives it; data: as of hpo.messages.Inspected
    """

    device_name: str
    built: int
    parameters: tuple[int, int]
    macs: tuple[int, int]
    train_images: int
    estimates: tuple[TrialEstimate, ...]
    sample: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def trials_within(self, seconds: float, slots: int) -> tuple[int, int]:
        """(fewest, most) trials that `slots` trainers finish in that time if none is stopped early or pruned."""
        each = [estimate.trial_seconds for estimate in self.estimates]
        return int(slots * seconds / max(each)), int(slots * seconds / min(each))


def compare_stored(study: Study, settings: Settings) -> str:
    """Raise DeclarationChanged where the database holds `study` with another table, as `hpo run` would.

    Returns "", or why nothing could be compared. The database is the one in HPO_STORAGE, else the one under
    `settings.home`, if there is one.
    """
    if not settings.has_database:
        return ""
    from hpo.results.reading import open_for_reading, stored_declaration

    try:
        engine = open_for_reading(None, settings)
        try:
            stored, finished = stored_declaration(engine, study.name)
        finally:
            engine.dispose()
    except StorageError as error:
        return f"not compared with what is stored: {error.fact}"
    if stored is not None:
        check_same_declaration(study, stored, finished)
    return ""


def inspect_study(found: FoundStudy, device: str) -> Inspection:
    """Build every branch, and rehearse the cheapest and the dearest on `device`. Raises HpoError for problems."""
    ready, inspected = rehearse(found, device, sample=str(Settings.read().home / "check" / f"{found.study.name}.png"))
    return Inspection(
        ready.device_name,
        len(configurations(found)),
        _range(inspected, "parameters"),
        _range(inspected, "macs"),
        inspected.rehearsals[0]["train_images"],
        tuple(_estimate(found.study, one) for one in inspected.rehearsals),
        inspected.sample,
        inspected.data,
    )


def notes(study: Study) -> list[str]:
    """What may surprise people about a study's protocol."""
    said = [*wasteful(study), *study.dataset_row.notes()]
    if len(study.objectives) > 1 and not isinstance(study.pruner, NoPruner):
        said.append(
            f"Optuna prunes no study of {len(study.objectives)} objectives; {study.pruner} prunes this one "
            f"on its first, {study.objectives[0]}"
        )
    if study.folds:
        said.append(f"each trial trains {study.folds} folds; pruning happens between them")
    if study.seeds:
        said.append(f"each trial trains {study.seeds} times; one that cannot win any more ends after fewer")
    if study.max_seconds:
        said.append(f"a trial that trains for {study.max_seconds:g} s ends, as complete, with its best so far")
    for rule in study.constraints:
        if rule.times_baseline is not None and not rule.of_network:
            said.append(f"{rule}: trials that end before trial 0, the baseline, are not constrained")
    return said


def _estimate(study: Study, rehearsed: Mapping[str, Any]) -> TrialEstimate:
    epoch_seconds = float(rehearsed["epoch_seconds"])
    trial_seconds = epoch_seconds * epochs_of(study, rehearsed["config"]) * (study.folds or study.seeds or 1)
    return TrialEstimate(
        config={name: rehearsed["config"][name] for name in study.rows.searched if name in rehearsed["config"]},
        parameters=rehearsed["parameters"],
        macs=rehearsed["macs"],
        step_seconds=rehearsed["step_seconds"],
        epoch_seconds=epoch_seconds,
        trial_seconds=min(trial_seconds, study.max_seconds or trial_seconds),
        peak_memory_bytes=rehearsed["peak_memory_bytes"],
    )


def _range(inspected: Inspected, name: str) -> tuple[int, int]:
    values = [cost[name] for cost in inspected.costs]
    return min(values), max(values)
