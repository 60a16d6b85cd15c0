"""Train one study's baseline on real images and write its curve down: `python -m benchmarks.mobilenet_v3_baseline`.

The same job that `hpo run` gives a trainer for trial 0, on one core, with checkpoints: stop it and start it again as
often as you like. After every epoch a line goes to stdout, the curve to FOLDER/curve.json and as a table to
FOLDER/curve.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from hpo.messages import Epoch
from hpo.settings import Settings
from hpo.study.discovery import find_study
from hpo.trainers.jobs import make_job
from hpo.trainers.trial import Trial
from hpo.training.device import device_name, open_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="mobilenet_v3_cifar10")
    parser.add_argument("--folder", type=Path, default=Path(".hpo/baseline"), help="for the checkpoint and the curve")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = open_device(options.device)
    # Imported once the threads are pinned.
    from hpo.data.files import Folders
    from hpo.training.fit import fit
    from hpo.training.progress import StopRequest
    from hpo.training.train_val_split import DataCache

    found = find_study(options.study)
    study = found.study
    config = study.baseline_config
    trial = Trial(0, 0, 1, {}, config, str(options.folder.absolute() / "checkpoint"))
    settings = Settings.read()
    folders = Folders(settings.data_dir or settings.home / "data", settings.home / "cache")
    curve: dict[int, dict[str, float]] = {}

    def write(epoch: Epoch) -> None:
        curve[epoch.epoch] = {**epoch.metrics, "seconds": epoch.seconds}
        options.folder.mkdir(parents=True, exist_ok=True)
        (options.folder / "curve.json").write_text(json.dumps(curve, indent=1))
        (options.folder / "curve.md").write_text(table(curve))
        if not epoch.replayed:
            row = "  ".join(f"{name} {value:.4f}" for name, value in epoch.metrics.items())
            print(f"epoch {epoch.epoch}  {row}  {epoch.seconds:.1f} s", flush=True)

    print(f"{study.name} on {device_name(device)}: {config}", flush=True)
    finished = fit(make_job(found, trial), DataCache(folders, device), device, write, StopRequest())
    print(json.dumps(asdict(replace(finished, details=[])), indent=1))


def table(curve: Mapping[int, Mapping[str, float]]) -> str:
    """The curve as Markdown."""
    columns = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
    lines = [f"| epoch | {' | '.join(columns)} | seconds |", "|---" * (len(columns) + 2) + "|"]
    for epoch, metrics in curve.items():
        cells = [f"{metrics[name]:.4f}" for name in columns]
        lines.append(f"| {epoch} | {' | '.join(cells)} | {metrics['seconds']:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
