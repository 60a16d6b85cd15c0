"""Other libraries' searches by their public interfaces. None is a dependency of hpo: install them beside it.

    python -m venv peers && peers/bin/pip install -e . smac neural-pipeline-search syne-tune
    HPO_LCBENCH=... peers/bin/python -m benchmarks.search_methods --ways "TPE + median" SMAC3 PriorBand freeze-thaw

A peer is a class with `ask` and `observe` and a row in PEERS. NePS's ifBO is not here: it loads weights.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from benchmarks.methods.flat_peers import PriorBand, SyneTune
from benchmarks.methods.setting import Setting
from benchmarks.methods.simulator import Job, Observation
from hpo.study.parameters import Categorical, Float, Int, Parameter
from hpo.study.space import Space

__all__ = ["ABSENT", "PEERS"]


class Smac:
    """SMAC3's multi-fidelity facade (random forest, Hyperband with eta 3), whose trials go on from rung to rung.

    Ten first configurations, one of them the baseline: its default, ten for each row, would take all of a small budget.
    A failure has the accuracy 0: its forest takes no infinite cost.
    """

    def __init__(self, setting: Setting) -> None:
        from smac import MultiFidelityFacade, Scenario

        self._problem = setting.problem
        self._folder = tempfile.TemporaryDirectory(prefix="hpo-benchmark-")
        scenario = Scenario(
            _configuration_space(setting.problem.space, setting.problem.baseline, setting.seed),
            output_directory=self._folder.name,
            deterministic=True,
            n_trials=1_000_000,
            min_budget=max(1, setting.problem.epochs // 26),
            max_budget=setting.problem.epochs,
            use_default_config=True,
            seed=setting.seed,
        )
        first = MultiFidelityFacade.get_initial_design(scenario, n_configs=10)
        self._smac = MultiFidelityFacade(
            scenario, _never_called, initial_design=first, overwrite=True, logging_level=False
        )
        self._numbers: dict[Any, int] = {}
        self._asked: dict[int, tuple[Any, int]] = {}
        self._best: dict[int, float] = {}

    def ask(self) -> Job:
        info = self._smac.ask()
        number = self._numbers.setdefault(info.config, len(self._numbers))
        until = max(1, round(info.budget))
        self._asked[number] = info, until
        return Job(number, self._problem.space.configuration(dict(info.config)), until)

    def observe(self, seen: Observation) -> bool:
        from smac.runhistory import StatusType, TrialValue

        info, until = self._asked[seen.trial]
        if seen.failure:
            self._smac.tell(info, TrialValue(cost=0.0, status=StatusType.CRASHED))
            return False
        self._best[seen.trial] = max(self._best.get(seen.trial, -math.inf), seen.value)
        if seen.epoch == until:
            self._smac.tell(info, TrialValue(cost=-self._best[seen.trial]))
        return True


def _configuration_space(space: Space, baseline: Mapping[str, Any], seed: int) -> Any:
    import ConfigSpace

    found = ConfigSpace.ConfigurationSpace(seed=seed)
    for name, row in space.searched.items():
        count = space.rows[row.repeat] if row.repeat is not None else None
        most = count.high if isinstance(count, Int) else count
        for place in range(most or 1):
            parameter = f"{name}_{place}" if row.repeat else name
            found.add(_hyperparameter(ConfigSpace, parameter, row, baseline))
            conditions = [
                ConfigSpace.InCondition(found[parameter], found[target], list(values))
                for target, values in row.conditions
                if target in space.searched
            ]
            if isinstance(count, Int) and place >= count.low:
                conditions.append(ConfigSpace.GreaterThanCondition(found[parameter], found[row.repeat], place))
            if conditions:
                found.add(conditions[0] if len(conditions) == 1 else ConfigSpace.AndConjunction(*conditions))
    return found


def _hyperparameter(library: Any, name: str, row: Parameter, baseline: Mapping[str, Any]) -> Any:
    given = {"default_value": baseline[name]} if name in baseline else {}
    if isinstance(row, Categorical):
        return library.CategoricalHyperparameter(name, list(row.choices), **given)
    if isinstance(row, Int):
        return library.UniformIntegerHyperparameter(name, row.low, row.high, log=row.log, **given)
    assert isinstance(row, Float)
    return library.UniformFloatHyperparameter(name, row.low, row.high, log=row.log, **given)


def _never_called(config: Any, seed: int = 0, budget: float = 0.0) -> float:
    raise AssertionError("the simulator trains")


_ALL: dict[str, tuple[str, str, Any]] = {
    "SMAC3": ("smac", "smac", Smac),
    "PriorBand": ("neps", "neural-pipeline-search", PriorBand),
    "syne-tune BOHB": ("syne_tune", "syne-tune", SyneTune),
}
"""By name: the module, the package that has it, and the way."""

PEERS = {name: way for name, (module, _, way) in _ALL.items() if find_spec(module) is not None}
"""The peers that are installed."""

ABSENT = {name: f"pip install {package}" for name, (_, package, _) in _ALL.items() if name not in PEERS}
"""Those that are not, and what makes it so."""
