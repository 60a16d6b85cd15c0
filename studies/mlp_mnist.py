"""MNIST with a multilayer perceptron: how many layers, how wide each, and which learning rate."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="mlp_mnist",
    description=__doc__,
    dataset="mnist",
    model="mlp",
    space={
        "batch_size": Int(3, 100),
        "layers": Int(2, 10),
        "hidden_units": Int(200, 1000).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "lr": Float(1e-5, 1e-1, log=True),
        "ema_decay": 0.999,
    },
    objective="val_accuracy",
    epochs=20,
    early_stopping=EarlyStopping(patience=5, min_delta=1e-4),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=0),
    baseline={"batch_size": 64, "layers": 2, "hidden_units": [512, 512], "optimizer": "adam", "lr": 1e-3},
    known=[{"batch_size": 4, "layers": 2, "hidden_units": [977, 878], "optimizer": "adam", "lr": 4.964e-5}],
)
