"""How many trials are in each state, counted for people as the picture of a run counts them."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from hpo.storage.optuna_schema import STATES
from hpo.storage.workers import WorkerRow

__all__ = ["counts_of"]

SILENT_SECONDS = 30.0
"""A coordinator says every five seconds what it trains; one that was silent for longer is not believed."""


def counts_of(trials: Sequence[FrozenTrial], workers: Sequence[WorkerRow]) -> dict[str, int]:
    """Trials by state, with the keys complete, pruned, failed, running and waiting.

    A trial that a coordinator holds for its next free slot waits: its lease makes it RUNNING in Optuna's table, where
    nobody trains it yet.
    """
    counts = dict.fromkeys(STATES.values(), 0)
    for trial in trials:
        counts[STATES[trial.state]] += 1
    training = _slots_training(workers)
    if training is not None:
        held = max(0, counts["running"] - training)
        counts |= {"running": counts["running"] - held, "waiting": counts["waiting"] + held}
    return counts


def _slots_training(workers: Sequence[WorkerRow]) -> int | None:
    """Slots of coordinators at work that train a trial; None where none is at work, or one does not say what it does.

    A slot may hold whatever its coordinator wrote.
    """
    slots = [worker.slots for worker in workers if worker.is_at_work(SILENT_SECONDS)]
    if not slots or not all(isinstance(each, list) and each for each in slots):
        return None
    every = [slot for each in slots for slot in each if isinstance(slot, dict)]
    return len([slot for slot in every if slot.get("state") == "training"])
