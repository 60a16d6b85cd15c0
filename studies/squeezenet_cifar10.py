"""CIFAR-10 with SqueezeNet: how far to squeeze, how much of the expansion is 3x3, and which optimizer settings."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="squeezenet_cifar10",
    description=__doc__,
    dataset="cifar10",
    model="squeezenet",
    space={
        "squeeze_ratio": Float(0.125, 0.5),
        "expand3x3_ratio": Float(0.3, 0.7),
        "dropout": Float(0.0, 0.5),
        "batch_size": Int(32, 256, log=True),
        "lr": Float(1e-4, 1e-1, log=True),
        "optimizer": Categorical("adam", "sgd"),
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "plateau",
        "schedule_factor": 0.5,
        "crop_padding": 4,
        "flip": True,
        "channels_last": True,
        "precision": "bf16",
    },
    objective="val_accuracy",
    epochs=100,
    early_stopping=EarlyStopping(patience=10),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=5),
    baseline={
        "squeeze_ratio": 0.125,
        "expand3x3_ratio": 0.5,
        "dropout": 0.5,
        "batch_size": 128,
        "lr": 1e-3,
        "optimizer": "adam",
    },
)
