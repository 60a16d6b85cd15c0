"""Images trained per second on CIFAR-10 with crop, flip and rotation, batch 128: hpo against a script, whole machine.

    HPO_DATA_DIR=... python -m benchmarks.vision             two models, each in two precisions, about four minutes
    ... --rounds 5 --seconds 8 --record                      also write records/DATE-vision.md

    hpo      one one-thread trainer loop per core, as `hpo run` has them
    script   torchvision's transforms image by image in a DataLoader with a worker per core, default optimizer,
             `.item()` each step, torch's own number of threads

The sides alternate. Each model stands there twice: hpo in the precision of the study's table, and in float32. The
script is in float32 always, as torch is unless told otherwise. The floor is the arithmetic of a step at the peak rate
of matrix products of hpo's precision measured here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.training_side import Side
from hpo.models.build import build_model, count_macs
from hpo.study.discovery import find_study
from hpo.trainers.devices import usable_cores
from hpo.training.device import device_name, supports_bf16

AUGMENTED = {"batch_size": 128, "crop_padding": 4, "flip": True, "rotation": 15.0}
ROWS = {
    "squeezenet": ("squeezenet_cifar10", {}),
    "mobilenet_v3_small": ("mobilenet_v3_cifar10", {}),
    "mobilenet_v3_small, original stem": ("mobilenet_v3_cifar10", {"stem_stride": 2}),
}
SIDES = ("hpo", "script")


def main() -> None:
    options = _options()
    root = Path(os.environ.get("HPO_DATA_DIR") or ".hpo/data").absolute()
    if not (root / "cifar-10-batches-py/data_batch_1").is_file():
        raise SystemExit(f"no CIFAR-10 in {root}: set HPO_DATA_DIR to a folder in torchvision's layout")
    lines = [
        f"# CIFAR-10 training: images per second ({datetime.now(UTC):%Y-%m-%d})\n",
        f"{device_name(torch.device('cpu'))}, {usable_cores()} cores; torch {torch.__version__}, "
        f"Python {sys.version.split()[0]}; load average before the start {os.getloadavg()[0]:.1f}",
        f"\nBatch 128, crop 4, flip, rotation 15. {options.rounds} rounds of {options.seconds:g} s a side, "
        "alternating; median (lowest .. highest).\n",
        "| model | hpo's precision | hpo | script | hpo is | floor | hpo of floor |\n|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        (Path(folder) / "cifar-10-batches-py").symlink_to(root / "cifar-10-batches-py")
        sides = {name: Side(name, Path(folder), stack, arm="benchmarks.vision_arm") for name in SIDES}
        for name, (study, rows) in ROWS.items():
            for precision in _precisions(study):
                config = {"study": study, "rows": AUGMENTED | rows | {"precision": precision}}
                lines.append(_row(name, config, sides, options))
                print(lines[-1], flush=True)
    if options.record:
        path = Path(__file__).parent / "records" / f"{datetime.now(UTC):%Y-%m-%d}-vision.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def _row(name: str, config: dict[str, Any], sides: dict[str, Side], options: argparse.Namespace) -> str:
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        side.ask(do="begin", config=config)
        side.ask(do="train", seconds=1.0, steps=3)
    for _ in range(options.rounds):
        for label, side in sides.items():
            answers = side.ask(do="train", seconds=options.seconds, steps=3)
            rates[label].append(sum(answer["images"] / answer["seconds"] for answer in answers))
    floor = _floor(config, sides["hpo"])
    ours, theirs = median(rates["hpo"]), median(rates["script"])
    cells = [
        config["rows"]["precision"],
        _spread(rates["hpo"]),
        _spread(rates["script"]),
        f"**{ours / theirs:.1f}x**",
        f"{floor:,.0f}",
    ]
    return f"| {name} | {' | '.join(cells)} | {ours / floor:.0%} |"


def _floor(config: dict[str, Any], side: Side) -> float:
    """Images per second of all cores if a step took no longer than its multiply-accumulates, forward and backward.

    All of them in hpo's precision, though under bf16 some layers stay in float32.
    """
    study = find_study(config["study"]).study
    resolved = study.baseline_config | config["rows"]
    read = {name: resolved[name] for name in study.model_row.reads if name in resolved}
    with torch.device("meta"):
        network = build_model(study.model_row.builder, study.dataset_row.shape, 10, read)
    operations = 3 * 2 * count_macs(network, study.dataset_row.shape)
    rate = "flops_bf16" if config["rows"]["precision"] == "bf16" else "flops"
    return sum(peak[rate] / operations for peak in side.ask(do="peaks", bytes=[]))


def _precisions(study: str) -> list[str]:
    """The study's own first, as this machine runs it, then float32."""
    own = find_study(study).study.baseline_config.get("precision", "float32")
    return ["bf16", "float32"] if own == "bf16" and supports_bf16(torch.device("cpu")) else ["float32"]


def _spread(values: list[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f} .. {max(values):,.0f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each side in each round")
    parser.add_argument("--record", action="store_true", help="write records/DATE-vision.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
