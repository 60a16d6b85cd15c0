"""CIFAR-10 with MobileNet V2 from ImageNet weights: one epoch for the new head, then the whole network."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="mobilenet_v2_cifar10_finetune",
    description=__doc__,
    dataset="cifar10",
    model="mobilenet_v2",
    space={
        "batch_size": Int(16, 128, log=True),
        "lr": Float(1e-5, 1e-1, log=True),
        "optimizer": Categorical("adamw", "sgd"),
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "cosine",
        "pretrained": True,
        "resize": 128,
        "freeze_epochs": 1,
        "crop_padding": 4,
        "flip": True,
        "channels_last": True,
        "precision": "bf16",
    },
    objective="val_accuracy",
    epochs=15,
    early_stopping=EarlyStopping(patience=4),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=2),
    baseline={"batch_size": 64, "lr": 1e-2, "optimizer": "sgd"},
)
