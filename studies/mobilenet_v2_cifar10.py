"""CIFAR-10 with MobileNet V2 from scratch: learning rate, batch size and optimizer."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="mobilenet_v2_cifar10",
    description=__doc__,
    dataset="cifar10",
    model="mobilenet_v2",
    space={
        "batch_size": Int(32, 256, log=True),
        "lr": Float(1e-4, 3e-1, log=True),
        "optimizer": Categorical("adamw", "sgd", "rmsprop"),
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "stem_stride": 1,
        "crop_padding": 4,
        "flip": True,
        "rotation": 15.0,
        "channels_last": True,
        "precision": "bf16",
    },
    objective="val_accuracy",
    epochs=60,
    early_stopping=EarlyStopping(patience=15),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=5),
    baseline={"batch_size": 128, "lr": 0.1, "optimizer": "sgd"},
)
