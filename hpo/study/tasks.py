"""What there is to learn: for each task its losses, and the metrics that are computed where a study names them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hpo.study.parts import Metric
from hpo.study.protocol import METRICS

__all__ = ["RANGES", "TASKS", "TaskRow", "built_in_metrics"]

_HERE = "hpo.training.built_in_metrics"


@dataclass(frozen=True)
class TaskRow:
    """A row of the table.

    accuracy: whether something is simply right or wrong, so that every epoch has train_accuracy and val_accuracy
    computed: metrics that take more than a sum over the batches. No trial pays for one that its study does not name
    targets:  what a data set's loader returns; outputs: what a network gives
    """

    accuracy: bool
    computed: Mapping[str, Metric]
    targets: str
    outputs: str = "`classes` outputs"

    def known(self, own: Mapping[str, Metric]) -> dict[str, str]:
        """Every metric that training can report, and which way is better; `own`: those of a study's own."""
        always = {name: way for name, way in METRICS.items() if self.accuracy or not name.endswith("_accuracy")}
        return {**always, **{name: metric.direction for name, metric in {**self.computed, **own}.items()}}


TASKS: dict[str, TaskRow] = {
    "classification": TaskRow(
        True,
        {
            "val_macro_f1": Metric(f"{_HERE}:macro_f1", direction="maximize"),
            "val_balanced_accuracy": Metric(f"{_HERE}:balanced_accuracy", direction="maximize"),
            "val_auroc": Metric(f"{_HERE}:auroc", direction="maximize"),
            "val_top5": Metric(f"{_HERE}:top5", direction="maximize"),
        },
        "the class of each: int64 [N]",
    ),
    "multilabel": TaskRow(
        True,
        {
            "val_macro_f1": Metric(f"{_HERE}:label_f1", direction="maximize"),
            "val_auroc": Metric(f"{_HERE}:label_auroc", direction="maximize"),
        },
        "0 or 1 for each label: [N, labels]",
    ),
    "regression": TaskRow(
        False,
        {
            "val_mae": Metric(f"{_HERE}:mae", direction="minimize"),
            "val_rmse": Metric(f"{_HERE}:rmse", direction="minimize"),
            "val_r2": Metric(f"{_HERE}:r2", direction="maximize"),
        },
        "floating point [N, values], or [N]",
    ),
    "segmentation": TaskRow(
        False,
        {
            "val_iou": Metric("hpo.training.segmentation:MeanIoU", direction="maximize"),
            "val_pixel_accuracy": Metric("hpo.training.segmentation:PixelAccuracy", direction="maximize"),
        },
        "the class of each pixel: uint8 or int64 [N, H, W], 255 for pixels that do not count",
        "`classes` maps of the image's size",
    ),
}


_SHARES = ("val_macro_f1", "val_balanced_accuracy", "val_auroc", "val_top5", "val_iou", "val_pixel_accuracy")

RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    **dict.fromkeys(("val_mae", "val_rmse"), (0.0, math.inf)),
    "val_r2": (-math.inf, 1.0),
}
"""The smallest and the largest that each of the metrics above can be."""


def built_in_metrics() -> list[str]:
    """The functions of all metrics that come with hpo."""
    return [metric.reference for task in TASKS.values() for metric in task.computed.values()]
