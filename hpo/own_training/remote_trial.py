"""What an objective gets: the public interface of optuna.Trial; the coordinator makes its suggestions and decisions.

It follows Optuna's `optuna/trial/_trial.py` (5.0), also in what happens to a wrong value. It does not import Optuna;
a script that uses Optuna has done so.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpo.messages import Job
from hpo.own_messages import Attribute
from hpo.own_training.link import Link
from hpo.own_training.remote_study import RemoteStudy
from hpo.ownership import links_below

__all__ = ["RemoteTrial"]


class RemoteTrial:
    """One trial of a study, for the function that trains it.

    number, params, user_attrs, constraints, distributions, study: as in optuna.Trial
    checkpoint_dir: not in Optuna's interface: a folder that survives a pause, and is empty when the trial begins
    """

    def __init__(self, job: Job, link: Link) -> None:
        assert job.own is not None
        self.number = job.number
        self.datetime_start = datetime.now()
        self.params: dict[str, Any] = {}
        self.user_attrs: dict[str, Any] = {}
        self.constraints: dict[str, float] = {}
        self.system_attrs: dict[str, Any] = {}
        self.study = RemoteStudy(job.own, link)
        self._trial_id = job.trial_id
        self._several = len(job.own.directions) > 1
        self._metric = job.own.metrics[0]
        self._link = link
        self._asked: dict[str, dict[str, Any]] = {}  # by name: the distribution, as Optuna writes it
        self._ahead = job.own.ahead
        self._checkpoint = job.checkpoint
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def pass_for_optunas(cls) -> None:
        """Make `isinstance(trial, optuna.Trial)` true if a script has imported Optuna: Optuna's functions check it."""
        optuna = sys.modules.get("optuna.trial")
        if optuna is not None:
            optuna.Trial.register(cls)

    # Suggestions --------------------------------------------------------------------------------------------------

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        attributes = {"step": _float(step), "low": _float(low), "high": _float(high), "log": log}
        return float(self._suggest(name, "FloatDistribution", attributes))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        attributes = {"log": log, "step": int(step), "low": int(low), "high": int(high)}
        return int(self._suggest(name, "IntDistribution", attributes))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        choices = list(choices)
        try:
            json.dumps(choices)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the choices of {name} must be None, bool, int, float or str, which a database can hold; "
                f"got {choices!r}. Map names to what you need: {{'relu': nn.ReLU}}[trial.suggest_categorical(...)]"
            ) from error
        return choices[self._suggest(name, "CategoricalDistribution", {"choices": choices})]

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return self.suggest_float(name, low, high, step=q)

    @property
    def distributions(self) -> dict[str, Any]:
        """Optuna's own object for each parameter suggested so far. Imports optuna."""
        from hpo.own_training.optuna_objects import distributions

        return dict(distributions(self._asked))

    def _suggest(self, name: str, kind: str, attributes: dict[str, Any]) -> Any:
        wanted = {"name": kind, "attributes": attributes}
        before = self._asked.get(name)
        if before is None:
            value = self._first(name, json.dumps(wanted))
            self._asked[name] = wanted
        else:
            value = self._again(name, before, wanted)
        self.params[name] = attributes["choices"][value] if kind == "CategoricalDistribution" else value
        return value

    def _first(self, name: str, distribution: str) -> Any:
        """The value that came with the job, if it is of this very distribution; else the coordinator's answer."""
        known, value = self._ahead.get(name, (None, None))
        if known != distribution:
            return self._link.ask("suggest", name=name, distribution=distribution)
        self._link.tell(Attribute(self._trial_id, "param", name))
        return value

    def _again(self, name: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
        """A name asked for twice keeps its value, as in Optuna; another kind of distribution is refused."""
        choices = before["attributes"].get("choices")
        if before["name"] != wanted["name"] or choices != wanted["attributes"].get("choices"):
            raise ValueError(f"{name} was suggested with {before} in this trial, and now with {wanted}")
        if before != wanted:
            warnings.warn(
                f'Inconsistent parameter values for distribution with name "{name}": those of the first call are used',
                RuntimeWarning,
                stacklevel=4,
            )
        return self.params[name] if choices is None else choices.index(self.params[name])

    # Reports and pruning ------------------------------------------------------------------------------------------

    def report(self, value: float, step: int) -> None:
        if self._several:
            raise NotImplementedError("Trial.report is not supported for multi-objective optimization.")
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"The `value` argument is of type '{type(value)}' but supposed to be a float.") from None
        try:
            step = int(step)
        except (TypeError, ValueError):
            raise TypeError(f"The `step` argument is of type '{type(step)}' but supposed to be an int.") from None
        self._link.report(step, {self._metric: value})

    def should_prune(self) -> bool:
        if self._several:
            raise NotImplementedError("Trial.should_prune is not supported for multi-objective optimization.")
        return bool(self._link.reported and self._link.ask("should_prune"))

    # Notes --------------------------------------------------------------------------------------------------------

    def set_user_attr(self, key: str, value: Any) -> None:
        """`value` as JSON can hold it."""
        json.dumps(value)
        self.user_attrs[key] = value
        self._link.tell(Attribute(self._trial_id, "user", key, value))

    def set_system_attr(self, key: str, value: Any) -> None:
        """Set by Optuna's own parts, such as artifacts."""
        json.dumps(value)
        self.system_attrs[key] = value
        self._link.tell(Attribute(self._trial_id, "system", key, value))

    def set_constraint(self, key: str, value: float) -> None:
        """Feasible where every constraint is zero or less."""
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"The `value` argument is of type '{type(value)}' but supposed to be a float.") from None
        if math.isnan(value):
            raise ValueError(f"Attempted to set a constraint for {key!r}, but NaN is not allowed.")
        if key in self.constraints:
            warnings.warn(f"The constraint value is ignored: {key!r} is already set.", UserWarning, stacklevel=2)
            return
        self.constraints[key] = value
        self._link.tell(Attribute(self._trial_id, "constraint", key, value))

    @property
    def relative_params(self) -> dict[str, Any]:
        """Empty: the coordinator keeps what its sampler proposes together."""
        return {}

    @property
    def checkpoint_dir(self) -> Path:
        """A folder for what a later attempt of this trial resumes from; created on first use.

        Where it cannot be made, a temporary folder, with a warning: the trial goes on, and another attempt starts anew.
        """
        if self._temporary is not None:
            return Path(self._temporary.name)
        folder = Path(self._checkpoint)
        try:
            if links_below(folder, folder.parents[1]):
                raise OSError("it leads elsewhere by a link, and hpo keeps nothing behind one")
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            why = error.strerror or error
            said = f"nothing can be kept in {folder} ({why}): this trial begins again if it is cut short"
            warnings.warn(said, UserWarning, stacklevel=2)
        self._temporary = tempfile.TemporaryDirectory(prefix="hpo-trial-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)

    def close(self) -> None:
        """Remove what stood in for the folder. The trial has ended."""
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def storage(self) -> RemoteTrial:
        """For optuna.artifacts.upload_artifact, which writes a trial's attributes by its storage."""
        return self

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id != self._trial_id:
            raise ValueError(f"trial {trial_id} is not the one that this function was given")
        self.set_system_attr(key, value)

    def __repr__(self) -> str:
        return f"Trial(number={self.number}, params={self.params})"


def _float(number: Any) -> float | None:
    return None if number is None else float(number)
