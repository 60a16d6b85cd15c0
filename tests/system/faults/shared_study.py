"""A study into which others write, too. Its trials are trained by fake_trainer.py."""

from hpo import TPE, Categorical, Float, Int, NoPruner, Study

study = Study(
    name="faults",
    dataset="digits",
    model="mlp",
    space={
        "batch_size": 64,
        "layers": Int(1, 3),
        "hidden_units": Int(8, 64).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
        "lr": Float(0.001, 0.1, log=True),
    },
    baseline={"layers": 1, "hidden_units": [16], "optimizer": "adam", "lr": 0.01},
    epochs=4,
    sampler=TPE(startup_trials=2),
    pruner=NoPruner(),
)
