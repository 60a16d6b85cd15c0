"""A study whose trials take a fraction of a second, over digits whose test split can be poisoned (poisoned.py)."""

from hpo import EarlyStopping, Float, Int, NoPruner, Study
from hpo.data import Dataset

study = Study(
    name="quick",
    dataset=Dataset("poisoned:load", (1, 8, 8), tuple("0123456789"), download=False),
    model="shallow",
    space={"batch_size": Int(32, 64), "hidden_units": Int(8, 32), "lr": Float(1e-3, 1e-1, log=True)},
    baseline={"batch_size": 64, "hidden_units": 16, "lr": 1e-3},
    known=[{"batch_size": 32, "hidden_units": 24, "lr": 3e-2}],
    epochs=4,
    early_stopping=EarlyStopping(patience=2, min_delta=1e-3),
    pruner=NoPruner(),
)
