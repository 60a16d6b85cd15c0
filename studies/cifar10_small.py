"""CIFAR-10 that fits two cores: 10,000 images, a narrow ResNet-9, twelve epochs.

The baseline is the known fast recipe of `cifar10_fast`, scaled down. With a fifth of the images it has less to learn
from and more to gain by showing each of them in many ways, so how images are cropped, mirrored and covered is on the
table beside the learning rate and its schedule. Half an hour sees dozens of trials; the whole data would allow a few.
"""

from hpo import TPE, Categorical, Float, Int, MedianPruner, Study

study = Study(
    name="cifar10_small",
    description=__doc__,
    dataset="cifar10",
    model="resnet9",
    subset=10_000,
    space={
        "width": 8,
        "batch_size": Categorical(64, 128, 256),
        "lr": Float(0.01, 1.0, log=True),
        "weight_decay": Float(1e-5, 1e-2, log=True),
        "label_smoothing": Float(0.0, 0.3),
        "logit_scale": Float(0.05, 1.0, log=True),
        "schedule": Categorical("cosine", "one_cycle"),
        "warmup_epochs": Float(0.0, 4.0).when(schedule="cosine"),
        "crop_padding": Int(0, 4),
        "flip": Categorical(True, False),
        "cutout": Int(0, 12),
        "optimizer": "sgd",
        "momentum": Float(0.8, 0.98),
        "nesterov": True,
        "channels_last": True,
    },
    objective="val_accuracy",
    epochs=12,
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=3),
    baseline={
        "batch_size": 128,
        "lr": 0.1,
        "weight_decay": 5e-4,
        "label_smoothing": 0.2,
        "logit_scale": 0.125,
        "schedule": "cosine",
        "warmup_epochs": 2.0,
        "crop_padding": 4,
        "flip": True,
        "cutout": 8,
        "momentum": 0.9,
    },
)
