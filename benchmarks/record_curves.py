"""Train random configurations of a study to their ends, and keep every curve: a stick for benchmarks.search_methods.

    python -m benchmarks.record_curves FOLDER --study mlp_digits [--curves 1000] [--subset N] [--trainers 2]

The study's rows, model, data and epochs, without pruning, early stopping or whatever else ends a trial before its last
epoch; the first curve is the baseline's. It runs at the lowest priority, and keeps its trials in a database in FOLDER:
whenever it ends, by Ctrl-C too, it writes what there is to FOLDER/NAME.npz, and the same command goes on. `--curves 20`
first says how long a curve takes. Then

    HPO_CURVES=FOLDER python -m benchmarks.search_methods --tasks recorded
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

from optuna.trial import TrialState

import hpo
from benchmarks.methods.recorded import Recorded, write_curves
from hpo import NoPruner, Random
from hpo.results.reading import open_for_reading, read_study
from hpo.settings import Settings
from hpo.study.discovery import find_study


def main() -> None:
    options = _options()
    os.nice(19)
    os.environ["HPO_HOME"] = str(options.folder.resolve() / ".hpo")
    found = find_study(options.study)
    study = replace(
        found.study, sampler=Random(), pruner=NoPruner(), search=None, stop=None, early_stopping=None, stop_when=None,
        max_seconds=None, known=(), subset=options.subset or found.study.subset,
    )  # fmt: skip
    began = time.monotonic()
    before = _written(options.folder, study.name)
    try:
        hpo.run(replace(found, study=study), trials=options.curves, trainers=options.trainers, devices="cpu")
    finally:
        settings = Settings.read()
        engine = open_for_reading(None, settings)
        view = read_study(engine, study.name, history=True)
        engine.dispose()
        ended = [trial for trial in view.trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        path = options.folder / f"{study.name}.npz"
        count = write_curves(path, found.reference, study, ended, view.epochs)
        seconds = time.monotonic() - began
        print(f"{path}: {count} curves, {path.stat().st_size / 1024:.0f} kB")
        if count > before:
            print(f"{seconds / (count - before):.2f} s for each of the {count - before} new ones; 1,000 take"
                  f" {1000 * seconds / (count - before) / 3600:.1f} h")  # fmt: skip


def _written(folder: Path, name: str) -> int:
    """How many curves an earlier call wrote."""
    path = folder / f"{name}.npz"
    return len(Recorded(path)) if path.exists() else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the curves go")
    parser.add_argument("--study", default="mlp_digits", help="as `hpo run --study` has it")
    parser.add_argument("--curves", type=int, default=1000, help="how many in all, those of earlier calls included")
    parser.add_argument("--subset", type=int, help="train on only so many samples")
    parser.add_argument("--trainers", type=int, default=None, help="at a time; one for each core")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    main()
