"""Loss, metrics, optimizer and schedule are its own, some beside it in a module, one in this file; and augmentation."""

from parts_of_training import sign_descent, triangle

from hpo import Categorical, EarlyStopping, Float, Loss, Metric, NoPruner, Optimizer, Study
from hpo.models import Reads


def hits(outputs, targets):  # type: ignore[no-untyped-def]
    return (outputs.argmax(1) == targets).float().mean()


study = Study(
    name="parts",
    dataset="digits",
    model="shallow",
    space={
        "hidden_units": 16,
        "batch_size": 64,
        "lr": Float(1e-3, 1e-2, log=True),
        "optimizer": Categorical("adam", "parts_of_training:sign_descent"),
        "gamma": Float(0.0, 3.0),
        "crop_padding": 1,
        "trivial_augment": True,
    },
    loss=Loss("parts_of_training:softened", reads={"gamma": Reads(float, 2.0, low=0.0)}),
    optimizer=Optimizer(sign_descent, reads={"momentum": Reads(float, 0.9)}),
    schedule=triangle,
    metrics={
        "errors": Metric("parts_of_training:error_rate", direction="minimize"),
        "val_hits": Metric(hits, direction="maximize"),
    },
    objective="errors",
    early_stopping=EarlyStopping(patience=2, monitor="val_hits"),
    pruner=NoPruner(),
    epochs=3,
    subset=300,
    baseline={"lr": 3e-3, "optimizer": "parts_of_training:sign_descent", "gamma": 2.0},
)
