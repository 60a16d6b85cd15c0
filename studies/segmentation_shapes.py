"""Discs and bars on a noisy ground, found pixel by pixel: a segmentation that needs no download.

A made-up microscope shows discs and bars that cover each other, drawn by a seeded generator, with outlines that count
for nobody. Three quarters of the pixels are ground, so pixel accuracy flatters a model that finds nothing; in val_iou,
the objective, each class counts the same. The baseline is a U-Net of eight channels, trained with Adam at 1e-3.
What the search finds is how small the network may be and how fast it may learn; class weights are on the table too.
Masks of your own: dataset=Dataset("my_data:load", ...) whose labels are uint8 [N, H, W] (docs/how-to/segmentation.md).
"""

from hpo import Categorical, EarlyStopping, Float, Int, MedianPruner, Study
from hpo.data import Dataset

study = Study(
    name="segmentation_shapes",
    description="discs and bars on a noisy ground, with a small U-Net",
    task="segmentation",
    dataset=Dataset(
        "hpo.data.shapes:load",
        shape=(1, 32, 32),
        classes=("ground", "disc", "bar"),
        download=False,
        help="discs and bars drawn by a seeded generator, 400 + 100 images of 32x32",
    ),
    model="unet",
    objective="val_iou",
    metrics=["val_pixel_accuracy"],
    space={
        "batch_size": Int(8, 64, log=True),
        "width": Int(4, 16),
        "depth": Int(1, 3),
        "lr": Float(1e-4, 3e-2, log=True),
        "class_weights": Categorical("none", "balanced"),
        "flip": True,
    },
    epochs=12,
    early_stopping=EarlyStopping(patience=4, monitor="val_iou"),
    pruner=MedianPruner(warmup_epochs=2),
    baseline={"batch_size": 16, "width": 8, "depth": 2, "lr": 1e-3, "class_weights": "none"},
)
