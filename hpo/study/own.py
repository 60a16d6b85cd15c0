"""Which code comes with hpo: only that may run whoever named it (docs/security.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpo.data import DATASETS
from hpo.models import MODELS, NAMED
from hpo.study.function import shown_reference
from hpo.study.tasks import built_in_metrics

__all__ = ["foreign_parts", "is_own_builder", "is_own_loader", "shown_parts", "todays_name"]


def is_own_builder(builder: object) -> bool:
    """Whether "module:function" builds one of hpo's own models."""
    return builder in [*(model.builder for model in MODELS.values()), *NAMED.values()]


def is_own_loader(loader: object) -> bool:
    """Whether "module:function" loads one of hpo's own data sets."""
    return loader in [dataset.loader for dataset in DATASETS.values()]


_OF_HPO = built_in_metrics()
"""The functions of parts that come with hpo."""


def foreign_parts(parts: Any) -> list[str]:
    """The functions in a job's parts that do not come with hpo."""
    return [reference for _, reference in _references(parts) if reference not in _OF_HPO]


def shown_parts(parts: Any) -> list[str]:
    """A job's parts as every host writes them: "loss my_parts:focal"."""
    return sorted(f"{name} {shown_reference(reference)}" for name, reference in _references(parts))


def _references(parts: Any) -> Iterator[tuple[str, str]]:
    """(kind, or name of the metric; function) of each part. Others may have written anything there."""
    for kind, several in parts.items() if isinstance(parts, Mapping) else ():
        for name, part in several.items() if isinstance(several, Mapping) else ():
            reference = part.get("function") if isinstance(part, Mapping) else part
            yield f"metric {name}" if kind == "metrics" else str(kind), str(reference)


def todays_name(reference: object) -> str:
    """What hpo's own builder or loader is called that earlier versions stored as `reference`, "models.mlp:mlp" for one.

    "" for any other. A user's own module may have the former name too, so this is for advice: nothing runs by it.
    """
    now = f"hpo.{reference}"
    return now if is_own_builder(now) or is_own_loader(now) else ""
