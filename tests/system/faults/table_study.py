"""The study of the fault tests. Its trials are trained by fake_trainer.py, so only the numbers matter."""

from hpo import Float, NoPruner, Random, Study

study = Study(
    name="faults",
    dataset="digits",
    model="shallow",
    space={"batch_size": 64, "hidden_units": 16, "lr": Float(0.001, 0.1)},
    baseline={"lr": 0.01},
    epochs=4,
    sampler=Random(),
    pruner=NoPruner(),
)
