"""The study of the fault tests with more epochs, searched by going on with paused trials."""

from hpo import Float, FreezeThaw, Study

study = Study(
    name="faults",
    dataset="digits",
    model="shallow",
    space={"batch_size": 64, "hidden_units": 16, "lr": Float(0.001, 0.1)},
    baseline={"lr": 0.01},
    epochs=8,
    search=FreezeThaw(),
)
