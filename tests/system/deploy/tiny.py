"""A study for deployment tests: trials of a few seconds on any machine, so that a signal meets them at work."""

from hpo import Float, Int, NoPruner, Random, Study
from hpo.models import Model, Reads

study = Study(
    name="tiny",
    dataset="digits",
    model=Model("paced:build", reads={"hidden_units": Reads(int, low=1)}),
    space={"batch_size": Int(32, 64), "hidden_units": Int(8, 32), "lr": Float(1e-3, 1e-1, log=True)},
    baseline={"batch_size": 64, "hidden_units": 16, "lr": 1e-2},
    epochs=20,
    pruner=NoPruner(),
    sampler=Random(),
)
