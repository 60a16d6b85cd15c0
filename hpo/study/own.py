"""Which code comes with hpo: only that may run whoever named it (docs/security.md)."""

from __future__ import annotations

from hpo.data import DATASETS
from hpo.models import MODELS

__all__ = ["is_own_builder", "is_own_loader"]


def is_own_builder(builder: object) -> bool:
    """Whether "module:function" builds one of hpo's own models."""
    return builder in [model.builder for model in MODELS.values()]


def is_own_loader(loader: object) -> bool:
    """Whether "module:function" loads one of hpo's own data sets."""
    return loader in [dataset.loader for dataset in DATASETS.values()]
