"""MNIST with one hidden layer and a wide table: distorted images, weight decay, a schedule, an average.

The baseline is about that of `shallow_mnist`. One layer sees pixels and no shapes: turned, shifted and bent copies tell
it that a digit stays the same digit (Simard, 2003).
"""

from hpo import TPE, Categorical, Float, Int, MedianPruner, Study

study = Study(
    name="shallow_mnist_wide",
    description=__doc__,
    dataset="mnist",
    model="shallow",
    space={
        "epochs": Int(15, 60, prior=40),
        "batch_size": Int(32, 256, log=True),
        "hidden_units": Int(500, 2500, log=True),
        "optimizer": Categorical("adamw", "sgd", prior="adamw"),
        "lr": Float(1e-4, 1e-1, log=True, prior=2e-3),
        "momentum": Float(0.8, 0.99).when(optimizer="sgd"),
        "nesterov": Categorical(True, False).when(optimizer="sgd"),
        "weight_decay": Float(1e-6, 1e-1, log=True),
        "schedule": Categorical("none", "cosine", "one_cycle", prior={"cosine": 1, "one_cycle": 1}),
        "warmup_epochs": Float(0.0, 3.0).when(schedule=("none", "cosine")),
        "label_smoothing": Float(0.0, 0.1),
        "rotation": Float(0.0, 20.0, prior=8.0),
        "zoom": Float(0.0, 0.3, prior=0.1),
        "crop_padding": Int(0, 3),
        "elastic": Float(0.0, 3.0, prior=1.5),
        "cutout": Int(0, 8),
        "ema_decay": Categorical(0.0, 0.99, 0.999),
    },
    objective="val_accuracy",
    epochs=60,
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=4),
    baseline={
        "epochs": 20,
        "batch_size": 64,
        "hidden_units": 512,
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 1e-6,
        "schedule": "none",
        "warmup_epochs": 0.0,
        "label_smoothing": 0.0,
        "rotation": 0.0,
        "zoom": 0.0,
        "crop_padding": 0,
        "elastic": 0.0,
        "cutout": 0,
        "ema_decay": 0.999,
    },
    known=[
        {
            "epochs": 40,
            "batch_size": 128,
            "hidden_units": 1000,
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 1e-6,
            "schedule": "cosine",
            "warmup_epochs": 0.0,
            "label_smoothing": 0.0,
            "rotation": 8.0,
            "zoom": 0.1,
            "crop_padding": 0,
            "elastic": 1.5,
            "cutout": 0,
            "ema_decay": 0.0,
        }
    ],  # by hand: 0.9912 of the validation part
)
