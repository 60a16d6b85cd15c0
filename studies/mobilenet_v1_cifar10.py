"""CIFAR-10 with MobileNet V1, an hour of training for each trial: width, weight decay, mixup, schedule."""

from hpo import TPE, Categorical, Float, Int, MedianPruner, Study

study = Study(
    name="mobilenet_v1_cifar10",
    description=__doc__,
    dataset="cifar10",
    model="mobilenet_v1",
    space={
        "batch_size": Int(32, 256, log=True),
        "lr": Float(1e-3, 3e-1, log=True),
        "weight_decay": Float(1e-5, 1e-2, log=True),
        "width": Float(0.25, 1.5),
        "mixup_alpha": Float(0.0, 1.0),
        "schedule": Categorical("none", "cosine", "one_cycle"),
        "optimizer": "sgd",
        "momentum": 0.9,
        "crop_padding": 4,
        "flip": True,
        "channels_last": True,
        "precision": "bf16",
    },
    objective="val_accuracy",
    epochs=60,
    max_seconds=3600,
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=5),
    baseline={
        "batch_size": 100,
        "lr": 0.03,
        "weight_decay": 5e-4,
        "width": 1.0,
        "mixup_alpha": 0.0,
        "schedule": "none",
    },
)
