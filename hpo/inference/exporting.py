"""Files for other runtimes; each is loaded again and compared before it counts as exported.

The graph includes the normalisation: input "images" [N, C, H, W], float32 in 0..1 or uint8 in 0..255 as the user
chooses; output "logits" [N, classes]. N may be any number.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from hpo.errors import HpoError, UsageError, near_miss
from hpo.inference.model import SavedModel
from hpo.models.inputs import Inputs

__all__ = ["FORMATS", "INPUTS", "Exported", "export_model"]

FORMATS = {"onnx": "onnx", "torch-export": "pt2"}
"""Each format with the ending of its files."""
INPUTS = {"float32": torch.float32, "uint8": torch.uint8}
TOLERANCE = 1e-3
"""The largest difference of a logit, relative to the largest logit: float32 sums in another order differ by 1e-6."""

Runtime = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Exported:
    """max_difference: the largest of any logit, between the file and the model over `checked` images."""

    path: Path
    max_difference: float
    checked: int


def export_model(model: SavedModel, kind: str, path: Path, *, input_type: str = "float32") -> Exported:
    """Write `model` to `path` in the format `kind`, check that it gives the same outputs, and say how close they are.

    Raises UsageError for an unknown format, a package that is missing or a folder that cannot be written; HpoError
    when the file gives different outputs; the file is then removed.
    """
    if kind not in FORMATS:
        raise UsageError(f'unknown format "{kind}"', evidence=[near_miss(kind, FORMATS)])
    if input_type not in INPUTS:
        raise UsageError(f'unknown input type "{input_type}"', evidence=[near_miss(input_type, INPUTS)])
    if kind == "onnx":
        _need_onnx()
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        export = {"onnx": _export_onnx, "torch-export": _export_torch}[kind]
        runtime = export(model, temporary, INPUTS[input_type])
        difference, checked = _compare(model, runtime, INPUTS[input_type])
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}", next="give another --out") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(path, difference, checked)


def _export_onnx(model: SavedModel, path: Path, dtype: torch.dtype) -> Runtime:
    import onnx
    import onnxruntime

    with warnings.catch_warnings(), _Quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model.classifier,
            (_examples(model, 2, dtype), {}),  # without the last dict it would take the first one for keyword arguments
            dynamo=True,
            input_names=_names(model),
            output_names=["logits"],
            dynamic_shapes=(_any_count(model),),
            verbose=False,
        )
    assert program is not None
    made = program.model_proto
    onnx.helper.set_model_props(made, {"classes": json.dumps(model.classes), "study": str(model.about.get("study"))})
    path.write_bytes(made.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(given: Inputs) -> Tensor:
        fed = given if isinstance(given, dict) else {_names(model)[0]: given}
        return torch.from_numpy(session.run(["logits"], {name: value.numpy() for name, value in fed.items()})[0])

    return run


def _export_torch(model: SavedModel, path: Path, dtype: torch.dtype) -> Runtime:
    shapes = (_any_count(model),)
    program = torch.export.export(model.classifier, (_examples(model, 2, dtype),), dynamic_shapes=shapes)
    with warnings.catch_warnings(), path.open("wb") as file:
        warnings.simplefilter("ignore")  # about weights that are views; the file is checked anyway
        torch.export.save(program, file, extra_files={"classes.json": json.dumps(model.classes)})
    with path.open("rb") as file:
        loaded: Runtime = torch.export.load(file).module()
    return loaded


def _compare(model: SavedModel, runtime: Runtime, dtype: torch.dtype) -> tuple[float, int]:
    """(largest difference of any logit, images compared). Raises HpoError beyond the tolerance."""
    sizes = (1, 3, 32)
    batches = [_examples(model, size, dtype) for size in sizes]
    largest = scale = 0.0
    with torch.inference_mode():
        for images in batches:
            wanted, found = model.classifier(images), runtime(images)
            largest = max(largest, float((wanted - found).abs().max()))
            scale = max(scale, float(wanted.abs().max()))
    if not largest <= TOLERANCE * max(scale, 1.0):
        raise HpoError(
            f"the exported file gives different outputs: logits differ by up to {largest:.3g}",
            evidence=[f"the largest logit is {scale:.3g}"],
            next="try the other --format; if that fails too, please report a bug",
        )
    return largest, sum(sizes)


def _names(model: SavedModel) -> list[str]:
    """What a file calls its inputs."""
    return list(model.shape) if isinstance(model.shape, dict) else ["images" if model.dtypes is None else "inputs"]


def _any_count(model: SavedModel) -> Any:
    count = {0: Dim("N")}
    return dict.fromkeys(model.shape, count) if isinstance(model.shape, dict) else count


def _examples(model: SavedModel, count: int, dtype: torch.dtype) -> Inputs:
    """Random inputs, the same each time; token numbers within what the data set's declaration allows."""
    if model.dtypes is None:
        return _images(model, count, dtype)
    generator = torch.Generator().manual_seed(count)
    below = model.about.get("below")

    def one(shape: tuple[int, ...], kind: str, below: int | None) -> Tensor:
        if kind == "float32":
            return torch.randn(count, *shape, generator=generator)
        most = below or (256 if kind == "uint8" else 2)
        return torch.randint(0, most, (count, *shape), generator=generator, dtype=getattr(torch, kind))

    if isinstance(model.shape, dict):
        assert isinstance(model.dtypes, dict)
        return {name: one(shape, model.dtypes[name], (below or {}).get(name)) for name, shape in model.shape.items()}
    assert isinstance(model.dtypes, str)
    return one(model.shape, model.dtypes, below)


def _images(model: SavedModel, count: int, dtype: torch.dtype) -> Tensor:
    """Random images of every brightness, the same each time."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, *model.image_shape), generator=generator, dtype=torch.uint8)
    return pixels if dtype == torch.uint8 else pixels.float() / 255.0


def _need_onnx() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--format onnx needs {', '.join(missing)}",
            next="pip install onnx onnxruntime onnxscript, or use --format torch-export, which needs nothing more",
        )


class _Quiet:
    """Hides the exporter's progress and advice: the file is checked anyway."""

    def __init__(self, *names: str) -> None:
        self._loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
