"""A class that few samples have: parts.csv, beside this file, where most parts are sound and a few are cracked."""

from hpo import Categorical, Float, Int, Study
from hpo.data import CSV

study = Study(
    name="parts",
    dataset=CSV("parts.csv", target="state"),
    model="shallow",
    objective="val_macro_f1",
    metrics=["val_balanced_accuracy"],
    space={
        "batch_size": 32,
        "hidden_units": Int(8, 64),
        "class_weights": Categorical("none", "balanced"),
        "loss": Categorical("cross_entropy", "focal"),
        "lr": Float(1e-3, 1e-1, log=True),
    },
    epochs=10,
    baseline={"hidden_units": 16, "class_weights": "none", "loss": "cross_entropy", "lr": 1e-2},
)
