"""Photographs in a folder for each class, ./images/cat/1.jpg and so on, with torchvision's ResNet-18.

The folder is looked for where hpo is run; images are scaled to 32 pixels a side, which is CIFAR-10's size. ResNet-18
halves an image five times, so that one of 32 pixels ends as a single one: scaling it up on the device (resize) helps
most, and costs most. Copy this file and change size, which decides what a network can see. The baseline is SGD with the
paper's momentum and weight decay.
"""

from pathlib import Path

from hpo import Categorical, EarlyStopping, Float, Study
from hpo.data import ImageFolder

study = Study(
    name="resnet_folder",
    description="your own photographs with torchvision's ResNet-18",
    dataset=ImageFolder(Path.cwd() / "images", size=32, test=0.2),
    model="torchvision:resnet18",
    space={
        "batch_size": Categorical(32, 64, 128),
        "resize": Categorical(0, 64),
        "optimizer": "sgd",
        "momentum": 0.9,
        "lr": Float(1e-3, 0.3, log=True),
        "weight_decay": Float(1e-6, 1e-2, log=True),
        "schedule": "cosine",
        "crop_padding": Categorical(0, 4),
        "flip": Categorical(False, True),
    },
    epochs=30,
    early_stopping=EarlyStopping(patience=10),
    baseline={
        "batch_size": 128,
        "resize": 0,
        "lr": 0.05,
        "weight_decay": 1e-4,
        "crop_padding": 4,
        "flip": True,
    },
)
