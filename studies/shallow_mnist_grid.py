"""MNIST with one hidden layer, every point of a grid; early stopping takes the place of a grid over epochs."""

from hpo import Categorical, EarlyStopping, Grid, MedianPruner, Study

study = Study(
    name="shallow_mnist_grid",
    description=__doc__,
    dataset="mnist",
    model="shallow",
    space={
        "batch_size": Categorical(3, 5, 10),
        "hidden_units": Categorical(150, 200, 250, 300),
        "lr": Categorical(1e-5, 1e-4, 1e-3, 1e-2),
        "optimizer": "adam",
    },
    objective="val_accuracy",
    epochs=20,
    early_stopping=EarlyStopping(patience=2, min_delta=1e-3),
    sampler=Grid(),
    pruner=MedianPruner(warmup_epochs=0),
    baseline={"batch_size": 10, "hidden_units": 300, "lr": 1e-3},
)
