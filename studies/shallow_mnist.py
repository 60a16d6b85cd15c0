"""MNIST with one hidden layer: how wide, and which learning rate."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="shallow_mnist",
    description=__doc__,
    dataset="mnist",
    model="shallow",
    space={
        "batch_size": Int(3, 100),
        "hidden_units": Int(500, 2000),
        "optimizer": Categorical("adam", "sgd"),
        "lr": Float(1e-5, 1e-1, log=True),
        "ema_decay": 0.999,
        "label_smoothing": 0.1,
    },
    objective="val_accuracy",
    epochs=20,
    early_stopping=EarlyStopping(patience=5, min_delta=1e-4),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=0),
    baseline={"batch_size": 64, "hidden_units": 512, "optimizer": "adam", "lr": 1e-3},
    known=[
        {"batch_size": 3, "hidden_units": 1500, "optimizer": "sgd", "lr": 0.1},
        {"batch_size": 100, "hidden_units": 1685, "optimizer": "adam", "lr": 5e-4},
    ],
)
