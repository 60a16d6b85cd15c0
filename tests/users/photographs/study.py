"""Photographs of digits, most of them zeros: which recipe finds the rare ones?"""

from hpo import Categorical, Float, Study
from hpo.data import ImageFolder

study = Study(
    name="photos",
    dataset=ImageFolder("photos", size=32, test=0.2),
    model="lenet",
    objective="val_macro_f1",
    space={
        "batch_size": 32,
        "class_weights": Categorical("none", "balanced"),
        "lr": Float(1e-4, 1e-2, log=True),
    },
    epochs=4,
    baseline={"class_weights": "balanced", "lr": 3e-3},
)
