"""What a run gave to resume(), its checkpoints, and its folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch

from hpo.messages import Job
from hpo.ownership import links_below
from hpo.training.checkpoint import Checkpoints, TrainingSnapshot
from hpo.training.object_state import generators, restore, state_of, tree_of, value_of

__all__ = ["BeginAgain", "Keeping"]


class BeginAgain(BaseException):
    """Raised where a checkpoint does not fit what the function gave to resume()."""


class Keeping:
    """The state of one run. Where its job has no place for checkpoints, nothing is kept.

    begun: by perf_counter, when the work for the next checkpoint began, if it has
    """

    def __init__(self, job: Job, warn: Callable[[str], None], *, load: bool) -> None:
        self.begun: float | None = None
        self._place = Path(job.checkpoint) if job.checkpoint else None
        self._checkpoints, self._load, self._warn = Checkpoints(job, warn), load, warn
        self._state: SimpleNamespace | None = None
        self._size = 0
        self._passing: Path | None = None

    @property
    def useful(self) -> bool:
        """Whether a checkpoint would be of any use."""
        return self._state is not None and self._place is not None

    @property
    def due(self) -> bool:
        return self.useful and self._checkpoints.due(self._size)

    def resume(self, objects: Mapping[str, Any]) -> tuple[SimpleNamespace, dict[str, Any] | None]:
        """`objects` as the last checkpoint has them, and what else it holds; None if there is none.

        RuntimeError if it was called before, BeginAgain if the checkpoint does not fit.
        """
        if self._state is not None:
            raise RuntimeError("run.resume(...) was called already; give it everything at once")
        self._state = state = SimpleNamespace(**objects)
        tensors: dict[str, torch.Tensor] = {}
        tree_of({name: state_of(value) for name, value in objects.items()}, tensors, "state")
        self._size = sum(tensor.nbytes for tensor in tensors.values())
        snapshot = self._checkpoints.load() if self._load else None
        if snapshot is None:
            return state, None
        try:
            states = value_of(snapshot.progress["state"], snapshot.tensors)
            if states.keys() != vars(state).keys():
                raise ValueError(f"it holds {', '.join(states)}, and resume() was given {', '.join(vars(state))}")
            for name, value in list(vars(state).items()):
                setattr(state, name, self._restored(value, states[name]))
            random = self._random_of(snapshot)
        except Exception as error:
            raise BeginAgain(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error
        return state, {**snapshot.progress, "random": random}

    def save(self, progress: Mapping[str, Any]) -> bool:
        """Write a checkpoint of the state, the random generators and `progress`, which JSON can hold; false where
        nothing was given to resume(), or the disk refuses."""
        begun, self.begun = self.begun or perf_counter(), None
        if self._state is None or self._place is None:
            return False
        tensors: dict[str, torch.Tensor] = {}
        try:
            states = {name: self._state_of(value) for name, value in vars(self._state).items()}
        except OSError as error:  # of an object that writes a file of its own
            self._checkpoints.refuse(error)
            return False
        random = {name: tree_of(value, tensors, name) for name, value in self._random().items()}
        content = {**progress, "state": tree_of(states, tensors, "state"), **random}
        self._size = sum(tensor.nbytes for tensor in tensors.values())
        return self._write(TrainingSnapshot(content, tensors), begun)

    # What differs where several processes train ---------------------------------------------------------------------

    def _state_of(self, value: Any) -> Any:
        return state_of(value)

    def _restored(self, value: Any, state: Any) -> Any:
        return restore(value, state)

    def _random(self) -> dict[str, Any]:
        return {"random": generators()}

    def _random_of(self, snapshot: TrainingSnapshot) -> Any:
        return value_of(snapshot.progress["random"], snapshot.tensors)

    def _write(self, snapshot: TrainingSnapshot, begun: float) -> bool:
        return self._checkpoints.save(snapshot, begun)

    @property
    def folder(self) -> Path:
        """For the user's own files. Where nothing is kept, or can be, it is there until `leave`."""
        if self._passing is None and self._place is not None:
            folder = self._place / "own"
            try:
                if links_below(folder, folder.parents[2]):
                    raise OSError("it leads elsewhere by a link, and hpo keeps nothing behind one")
                folder.mkdir(parents=True, exist_ok=True)
                return folder
            except OSError as error:
                self._warn(f"no files of your own are kept in {folder}: {error.strerror or error}")
        self._passing = self._passing or Path(tempfile.mkdtemp(prefix="hpo-run-"))
        return self._passing

    def leave(self) -> None:
        """Remove a folder that was for this run only."""
        if self._passing is not None:
            shutil.rmtree(self._passing, ignore_errors=True)
            self._passing = None
