"""How far is a digit turned? scikit-learn's bundled digits, each turned by a known angle: a regression, no download.

A scanner feeds paper askew, and the angle is to be read off the writing itself: 1,437 digits turned by up to 45 degrees
either way. The objective is val_rmse, in radians: 0.1 is six degrees, about as well as a person does on such images.
The baseline is a multilayer perceptron of two layers and Adam at 1e-3, trained on the mean squared error.
The search may take the mean absolute error or Huber's instead, which forgive the digits that look alike upside down.
A table of your own: task="regression" and dataset=CSV("rows.csv", target="price") (docs/how-to/regression.md).
"""

from hpo import Categorical, EarlyStopping, Float, Int, MedianPruner, Study
from hpo.data import Dataset

study = Study(
    name="regression_digits",
    description="the angle of a turned digit, with a multilayer perceptron",
    task="regression",
    dataset=Dataset(
        "hpo.data.tilted_digits:load",
        shape=(1, 16, 16),
        classes=("radians",),
        download=False,
        help="scikit-learn's bundled digits, turned by up to 45 degrees, 1,437 + 360",
    ),
    model="mlp",
    objective="val_rmse",
    metrics=["val_mae", "val_r2"],
    space={
        "batch_size": Int(16, 128, log=True),
        "layers": Int(1, 3),
        "hidden_units": Int(32, 512, log=True).per("layers"),
        "dropout": Float(0.0, 0.5),
        "loss": Categorical("mse", "mae", "huber"),
        "lr": Float(1e-4, 1e-2, log=True),
        "weight_decay": Float(1e-6, 1e-2, log=True),
    },
    epochs=20,
    early_stopping=EarlyStopping(patience=5, monitor="val_rmse"),
    pruner=MedianPruner(warmup_epochs=3),
    baseline={
        "batch_size": 32,
        "layers": 2,
        "hidden_units": [256, 256],
        "dropout": 0.0,
        "loss": "mse",
        "lr": 1e-3,
        "weight_decay": 1e-6,
    },
)
