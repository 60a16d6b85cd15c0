"""A network of timm's by its name, on scikit-learn's digits."""

from hpo import Float, NoPruner, Study

study = Study(
    name="timm_digits",
    dataset="digits",
    model="timm:resnet10t",
    space={"batch_size": 32, "lr": Float(1e-4, 1e-2, log=True)},
    epochs=2,
    subset=300,
    pruner=NoPruner(),
    baseline={"lr": 3e-3},
)
