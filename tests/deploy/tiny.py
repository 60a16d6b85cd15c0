"""A study for deployment tests: trials of a second or two, so that a signal meets them at work."""

from hpo import Float, Int, NoPruner, Random, Study

study = Study(
    name="tiny",
    dataset="digits",
    model="shallow",
    space={"batch_size": Int(2, 4), "hidden_units": Int(8, 32), "lr": Float(1e-3, 1e-1, log=True)},
    baseline={"batch_size": 4, "hidden_units": 16, "lr": 1e-2},
    epochs=40,
    pruner=NoPruner(),
    sampler=Random(),
)
