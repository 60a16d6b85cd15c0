"""CIFAR-10 with SqueezeNet, accuracy against parameter count: the Pareto front."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="squeezenet_cifar10_compact",
    description=__doc__,
    dataset="cifar10",
    model="squeezenet",
    space={
        "squeeze_ratio": Float(0.03, 0.5, log=True),
        "expand3x3_ratio": Float(0.1, 0.7),
        "dropout": Float(0.0, 0.5),
        "batch_norm": True,
        "bypass": Categorical("none", "simple"),
        "batch_size": Int(32, 256, log=True),
        "lr": Float(1e-3, 1e-1, log=True),
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "plateau",
        "crop_padding": 4,
        "flip": True,
        "channels_last": True,
        "precision": "bf16",
    },
    objective=("val_accuracy", "parameters"),
    epochs=60,
    early_stopping=EarlyStopping(patience=10),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=5),
    baseline={
        "squeeze_ratio": 0.125,
        "expand3x3_ratio": 0.5,
        "dropout": 0.5,
        "bypass": "none",
        "batch_size": 128,
        "lr": 0.03,
    },
)
