"""What there is to learn: for each task, the metrics that are computed where a study names them."""

from __future__ import annotations

from hpo.study.parts import Metric

__all__ = ["COMPUTED"]

_HERE = "hpo.training.built_in_metrics"

COMPUTED: dict[str, Metric] = {
    "val_macro_f1": Metric(f"{_HERE}:macro_f1", direction="maximize"),
    "val_balanced_accuracy": Metric(f"{_HERE}:balanced_accuracy", direction="maximize"),
    "val_auroc": Metric(f"{_HERE}:auroc", direction="maximize"),
    "val_top5": Metric(f"{_HERE}:top5", direction="maximize"),
}
"""What takes more than a sum over the batches. No trial pays for one that its study does not name."""
