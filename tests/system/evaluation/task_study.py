"""A study of each task that is not classification, over the made-up pictures of task_data."""

from hpo import Float, NoPruner, Study
from hpo.data import Dataset


def made(task: str, loader: str, objective: str) -> Study:
    return Study(
        name=task,
        task=task,
        dataset=Dataset(loader, (1, 8, 8), ("left", "right"), download=False),
        model="shallow",
        space={"batch_size": 32, "hidden_units": 16, "lr": Float(1e-3, 3e-2, log=True)},
        objective=objective,
        metrics=["val_mae"] if task == "regression" else [],
        pruner=NoPruner(),
        epochs=3,
        baseline={"lr": 1e-2},
    )


regression = made("regression", "task_data:values", "val_rmse")
multilabel = made("multilabel", "task_data:labels", "val_macro_f1")
