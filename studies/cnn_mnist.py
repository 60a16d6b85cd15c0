"""MNIST with LeNet-5: batch size, learning rate and optimizer."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="cnn_mnist",
    description=__doc__,
    dataset="mnist",
    model="lenet",
    space={
        "batch_size": Int(3, 100),
        "lr": Float(1e-5, 1e-1, log=True),
        "optimizer": Categorical("adam", "sgd"),
        "ema_decay": 0.999,
    },
    objective="val_accuracy",
    epochs=20,
    early_stopping=EarlyStopping(patience=5, min_delta=1e-4),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=0),
    baseline={"batch_size": 64, "lr": 1e-3, "optimizer": "adam"},
    known=[{"batch_size": 3, "lr": 2e-4, "optimizer": "adam"}],
)
