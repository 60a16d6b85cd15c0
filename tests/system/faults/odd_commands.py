"""A grid of odd_program.py's cases, one for each trial; CASES says what becomes of each."""

from __future__ import annotations

import sys
from typing import Any

from hpo import Categorical, Grid, NoPruner, Study

CASES: dict[str, Any] = {  # the trial's value, or its state and the end of the reason why it has none
    "reports": 0.5,
    "rewrites": 0.5,
    "silent": ("FAIL", "it ended with exit code 0 and reported no score"),
    "other_name": ("FAIL", 'reported no score, but scores, loss (did you mean "scores"?)'),
    "meaningless": 0.5,
    "huge_line": 0.5,
    "nan": ("PRUNED", "score is not a number"),
    "null": ("PRUNED", "score is not a number"),
    "replaces": ("FAIL", "it put a file in place of the pipe that HPO_METRICS names; append to that"),
    "no_newline": 0.5,
    "fails": ("FAIL", "exit code 1: the learning rate is odd"),
    "exits_3": ("FAIL", "exit code 3"),
    "segfault": ("FAIL", "killed by SIGSEGV"),
    "killed": ("FAIL", "killed by SIGKILL"),
    "out_of_memory": ("PRUNED", "exit code 1; MemoryError: no room"),
    "gigabyte": 0.5,
    "binary": ("FAIL", "exit code 1: that was binary"),
    "stdin": 1.0,
    "terminal": 1.0,
    "closes": 0.5,
    "children": 0.5,
    "environment": 1.0,
}

study = Study(
    name="odd_commands",
    command=[sys.executable, "odd_program.py", "{case}", "{seed}", "{number}", "{checkpoint_dir}"],
    space={"case": Categorical(*CASES)},
    objective="score",
    direction="maximize",
    sampler=Grid(),
    pruner=NoPruner(),
    baseline={"case": "reports"},
)
