"""A study of each task but classification, with one of the user's own, over the made-up pictures of task_data."""

from hpo import Float, Metric, NoPruner, Study, Task
from hpo.data import Dataset, Tensor

METRICS = {"regression": ["val_mae"], "segmentation": ["val_pixel_accuracy"]}


def made(task: str | Task, loader: str, objective: str, model: str = "shallow") -> Study:
    name = task if isinstance(task, str) else task.name
    return Study(
        name=name,
        task=task,
        dataset=Dataset(loader, (1, 8, 8), ("left", "right"), download=False)
        if isinstance(task, str)
        else Dataset(loader, (1, 8, 8), targets=Tensor(1), download=False),
        model=model,
        space={
            "batch_size": 32,
            "lr": Float(1e-3, 3e-2, log=True),
            **({"hidden_units": 16} if model == "shallow" else {"width": 4, "depth": 1, "flip": True}),
        },
        objective=objective,
        metrics=METRICS.get(name, {}),
        pruner=NoPruner(),
        epochs=3,
        baseline={"lr": 1e-2},
    )


regression = made("regression", "task_data:values", "val_rmse")
multilabel = made("multilabel", "task_data:labels", "val_macro_f1")
segmentation = made("segmentation", "task_data:masks", "val_iou", "unet")
direction = made(
    Task(
        "direction",
        loss="task_data:direction_loss",
        metrics={"degrees_off": Metric("task_data:degrees_off", direction="minimize")},
        outputs=(2,),
        check="task_data:right_angles",
        predict="task_data:said_direction",
    ),
    "task_data:directions",
    "degrees_off",
)
