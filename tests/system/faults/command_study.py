"""The search of optuna_script.py as a table of rows and a command."""

from __future__ import annotations

import sys

from hpo import Categorical, Float, Int, Study

study = Study(
    name="optuna_script",
    command=[
        sys.executable, "command_script.py", "--units", "{units}", "--lr", "{lr}", "--optimizer", "{optimizer}",
        "--momentum", "{momentum}", "--checkpoint", "{checkpoint_dir}/last.pt",
    ],
    space={
        "layers": Int(1, 3),
        "units": Int(8, 64, log=True).per("layers"),
        "lr": Float(1e-3, 1e-1, log=True),
        "optimizer": Categorical("adam", "sgd"),
        "momentum": Float(0.0, 0.95).when(optimizer="sgd"),
    },
    objective="macro_f1",
    direction="maximize",
    baseline={"layers": 1, "units": [32], "lr": 1e-2, "optimizer": "adam"},
)  # fmt: skip
