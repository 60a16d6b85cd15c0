"""The same training in four languages, none of which knows hpo: a file that HPO_METRICS names is all they need."""

from __future__ import annotations

from hpo import Categorical, Grid, NoPruner, Study

study = Study(
    name="languages",
    command="{program} '{note}'",
    space={
        "program": Categorical("./train.sh", "./train.awk", "./train.pl", "./train"),
        "note": "it's $HOME; and more",
    },
    objective="score",
    direction="maximize",
    sampler=Grid(),
    pruner=NoPruner(),
    baseline={"program": "./train.sh"},
)
