"""Trials that end differently: two good ones, one its pruner ends, and one that diverges."""

from hpo import Float, MedianPruner, Study

study = Study(
    name="three_ends",
    dataset="digits",
    model="shallow",
    space={"batch_size": 32, "hidden_units": 16, "optimizer": "sgd", "lr": Float(1e-6, 1e9, log=True)},
    baseline={"lr": 0.1},
    known=[{"lr": 0.05}, {"lr": 1e-6}, {"lr": 1e9}],
    epochs=4,
    pruner=MedianPruner(startup_trials=0, min_trials=1, warmup_epochs=1),
    subset=400,
)
