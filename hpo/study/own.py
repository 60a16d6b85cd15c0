"""Which code comes with hpo: only that may run whoever named it (docs/security.md)."""

from __future__ import annotations

from hpo.data import DATASETS
from hpo.models import MODELS

__all__ = ["is_own_builder", "is_own_loader", "todays_name"]


def is_own_builder(builder: object) -> bool:
    """Whether "module:function" builds one of hpo's own models."""
    return builder in [model.builder for model in MODELS.values()]


def is_own_loader(loader: object) -> bool:
    """Whether "module:function" loads one of hpo's own data sets."""
    return loader in [dataset.loader for dataset in DATASETS.values()]


def todays_name(reference: object) -> str:
    """What hpo's own builder or loader is called that earlier versions stored as `reference`, "models.mlp:mlp" for one.

    "" for any other. A user's own module may have the former name too, so this is for advice: nothing runs by it.
    """
    now = f"hpo.{reference}"
    return now if is_own_builder(now) or is_own_loader(now) else ""
