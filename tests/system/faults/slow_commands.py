"""slow_program.py as a study: each trial is worse than the one before, and pruned once there are enough."""

from __future__ import annotations

import os
import sys

from hpo import Command, Float, MedianPruner, NoPruner, Random, Study

study = Study(
    name="slow_commands",
    command=Command(
        [sys.executable, "slow_program.py", "{manners}", "{level}", "{checkpoint_dir}"],
        value=os.environ.get("VALUE", "last"),
    ),
    space={"manners": os.environ.get("MANNERS", "polite"), "level": Float(0.0, 1.0)},
    objective="score",
    direction="maximize",
    sampler=Random(),
    pruner=MedianPruner(startup_trials=1, min_trials=1) if "PRUNE" in os.environ else NoPruner(),
    baseline={"level": 1.0},
)
