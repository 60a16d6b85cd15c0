"""`hpo export` and `hpo predict`: use the winner that `hpo evaluate` saved."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import JsonOption, StoredStudyOption
from hpo.errors import UsageError

if TYPE_CHECKING:
    from hpo.inference.model import SavedModel

__all__ = ["ModelOption", "TrustOption", "export", "predict", "saved_model", "winner_folder"]

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="DIR",
        help="Folder of the winner. Default: reports/NAME/winner.",
        show_default=False,
    ),
]


TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust", help="Run the code that the folder's config.json names even if it is neither hpo's nor the study's."
    ),
]


def export(
    study: StoredStudyOption,
    kind: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="torch-export (a .pt2 file) or onnx.")
    ] = "torch-export",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Output file. Default: reports/NAME/NAME.pt2 or .onnx.", show_default=False
        ),
    ] = None,
    input_type: Annotated[
        str, typer.Option("--input", metavar="TYPE", help="Input images: float32 in 0..1, or uint8 in 0..255.")
    ] = "float32",
    model: ModelOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Export the winner for ONNX Runtime or torch.export, normalisation included, and check its outputs.

    Input `images` [N, C, H, W], output `logits` [N, classes], of segmentation [N, classes, H, W]; N may be any number.
    """
    from hpo.cli.output import emit, emit_json
    from hpo.inference.exporting import FORMATS, export_model

    folder, name = winner_folder(study, model, "export")
    saved = saved_model(folder, study, trust=trust)
    path = out or folder.parent / f"{name}.{FORMATS.get(kind, kind)}"
    done = export_model(saved, kind, path, input_type=input_type)
    size = done.path.stat().st_size
    if as_json:
        emit_json(
            {
                "study": name,
                "configuration": saved.about.get("name"),
                "trial": saved.about.get("trial"),
                "path": str(done.path),
                "format": kind,
                "input": input_type,
                "bytes": size,
                "max_difference": done.max_difference,
                "checked_images": done.checked,
            }
        )
        return
    if saved.dtypes is None:
        reads = f"input images [N, {', '.join(map(str, saved.image_shape))}] {input_type}"
    else:
        reads = f"inputs {saved.shape} of {saved.dtypes}, N of each"
    emit(f"{_which(saved)}, the winner of `hpo evaluate`")
    emit(f"{done.path}  {size:,} bytes")
    emit(f"{reads}, output logits [N, {', '.join(map(str, saved.output_shape))}]")
    emit(f"same answers: outputs differ by at most {done.max_difference:.2g} over {done.checked} samples")


def predict(
    study: StoredStudyOption,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files: PNG, JPEG, ...")],
    resize: Annotated[bool, typer.Option("--resize", help="Scale images to the model's size.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for predicted masks. Default: reports/NAME/masks.", show_default=False
        ),
    ] = None,
    model: ModelOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """What the winner says of image files: a class and its probability, labels, values, a mask, or what your Task says.

    Colour images are converted to grey for a model of grey images. MNIST's digits are white on black.
    """
    for image in images:
        if not os.path.isfile(image):  # before torch is loaded, which takes seconds
            raise UsageError(f"no such image: {image}", next="check the path")
    from hpo.cli.output import emit, emit_json
    from hpo.inference.predicting import predict as predict_images
    from hpo.inference.predicting import write_masks

    folder, _ = winner_folder(study, model, "predict")
    saved = saved_model(folder, study, trust=trust)
    if out is not None and saved.task != "segmentation":
        raise UsageError(f"--out is for predicted masks, and this model's task is {saved.task}", next="leave it out")
    found = predict_images(saved, images, resize=resize)
    if saved.task == "segmentation":
        found = write_masks(found, out or folder.parent / "masks")
    if as_json:
        emit_json([one.as_json(saved.task) for one in found])
        return
    width = max(len(str(one.image)) for one in found)
    for one in found:
        emit(f"{one.image!s:<{width}}  {one}")


def _which(saved: SavedModel) -> str:
    """`trial 38, test accuracy 0.9812`: the winner is not always the search's best."""
    about = saved.about
    name, trial, accuracy = about.get("name"), about.get("trial"), about.get("test_accuracy")
    said = trial is None or re.search(rf"\btrial {re.escape(str(trial))}\b", str(name)) is not None
    which = str(name) if said else f"{name} (trial {trial})"
    return f"{which}, test accuracy {accuracy['mean']:.4f}" if isinstance(accuracy, dict) else which


def winner_folder(reference: str, model: Path | None, command: str) -> tuple[Path, str]:
    """(the winner's folder, the study's name). Both come from files; the database is not needed."""
    from hpo.cli.options import declared_study
    from hpo.study.discovery import names_code

    name = reference
    if names_code(reference):
        declared = declared_study(reference)
        declared.check_trained_here(command)
        name = declared.name
    return model or Path("reports") / name / "winner", name


def saved_model(folder: Path, study: str, *, trust: bool) -> SavedModel:
    """The model in `folder`. Its code may be hpo's own, or what the study's file names if the user named that file."""
    from hpo.cli.output import notice
    from hpo.inference.model import Trust, load_model
    from hpo.study.discovery import find_study, names_code

    found = find_study(study) if names_code(study) else None
    named = (found.study.model_row.builder, found.sys_path) if found is not None else ("", ())
    says = found.study.parts.of_task.get("predict") if found is not None else None
    predict = says.reference if says is not None else ""
    return load_model(folder, study, Trust(*named, anything=trust, say=notice, predict=predict))
