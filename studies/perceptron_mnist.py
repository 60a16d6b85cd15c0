"""MNIST with a single linear layer: what a search is worth where the model can do little."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="perceptron_mnist",
    description=__doc__,
    dataset="mnist",
    model="perceptron",
    space={
        "batch_size": Int(3, 100),
        "optimizer": Categorical("adam", "sgd"),
        "lr": Float(1e-5, 1e-1, log=True),
        "ema_decay": 0.999,
    },
    objective="val_accuracy",
    epochs=20,
    early_stopping=EarlyStopping(patience=2, min_delta=1e-3),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=0),
    baseline={"batch_size": 64, "optimizer": "adam", "lr": 1e-3},
)
