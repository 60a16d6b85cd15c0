"""A study of each task that is not classification, over the made-up pictures of task_data."""

from hpo import Float, NoPruner, Study
from hpo.data import Dataset

METRICS = {"regression": ["val_mae"], "segmentation": ["val_pixel_accuracy"]}


def made(task: str, loader: str, objective: str, model: str = "shallow") -> Study:
    return Study(
        name=task,
        task=task,
        dataset=Dataset(loader, (1, 8, 8), ("left", "right"), download=False),
        model=model,
        space={
            "batch_size": 32,
            "lr": Float(1e-3, 3e-2, log=True),
            **({"hidden_units": 16} if model == "shallow" else {"width": 4, "depth": 1, "flip": True}),
        },
        objective=objective,
        metrics=METRICS.get(task, []),
        pruner=NoPruner(),
        epochs=3,
        baseline={"lr": 1e-2},
    )


regression = made("regression", "task_data:values", "val_rmse")
multilabel = made("multilabel", "task_data:labels", "val_macro_f1")
segmentation = made("segmentation", "task_data:masks", "val_iou", "unet")
