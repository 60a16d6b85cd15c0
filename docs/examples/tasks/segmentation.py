"""A class for each pixel of images whose masks lie in a second folder; mask_data.py, beside this file, reads both."""

from hpo import Categorical, Float, Int, Study
from hpo.data import Dataset

study = Study(
    name="cells",
    task="segmentation",
    dataset=Dataset("mask_data:load", shape=(1, 32, 32), classes=("ground", "disc", "bar"), download=False),
    model="unet",
    objective="val_iou",
    metrics=["val_pixel_accuracy"],
    space={
        "batch_size": 16,
        "width": Int(4, 16),
        "depth": Int(1, 3),
        "flip": True,
        "class_weights": Categorical("none", "balanced"),
        "lr": Float(1e-4, 1e-1, log=True),
    },
    epochs=10,
    baseline={"width": 4, "depth": 2, "class_weights": "none", "lr": 1e-2},
)
