"""scikit-learn's bundled digits with a multilayer perceptron: the study that needs no download."""

from hpo import TPE, Categorical, EarlyStopping, Float, Int, MedianPruner, Study

study = Study(
    name="mlp_digits",
    description=__doc__,
    dataset="digits",
    model="mlp",
    space={
        "batch_size": Int(3, 100),
        "layers": Int(1, 4),
        "hidden_units": Int(32, 512, log=True).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "lr": Float(1e-5, 1e-1, log=True),
        "momentum": Float(0.0, 0.99).when(optimizer="sgd"),
    },
    objective="val_accuracy",
    epochs=20,
    early_stopping=EarlyStopping(patience=4, min_delta=1e-3),
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=1),
    baseline={"batch_size": 64, "layers": 2, "hidden_units": [512, 512], "optimizer": "adam", "lr": 1e-3},
)
