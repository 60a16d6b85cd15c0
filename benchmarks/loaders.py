"""Samples that are loaded while a network trains: by hpo's Torch(...) and by a plain loop over a DataLoader.

    python -m benchmarks.loaders              two kinds of samples, five rounds, about two minutes
    ... --short                               few images, three rounds of three seconds
    ... --record                              also write records/DATE-loaders.md

Both train the same small network by autograd on batches of 64, loaded by two worker processes, with one thread each.
The script is a shuffled DataLoader, `zero_grad`, `backward`, `step`; hpo's side is what its trainer does with a study's
Torch(...): it checks every batch, seeds it for exact resume, and counts loss and hits. Photographs are JPEGs decoded,
cut at random and mirrored by torchvision; the cheap samples are tensors, where nothing hides what hpo does for each of
them. The sides alternate, and are compared in each round. Memory is that of a trainer and its workers together, what
they share counted once (PSS), the most after any round.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.folders import write_images
from benchmarks.loader_arm import WORKERS
from benchmarks.metering import spread
from benchmarks.recording import recorded
from benchmarks.training_side import Side

SIDES = ("hpo", "script")
LOADED_AHEAD = 2 * WORKERS
"""Batches that the workers of a side have ready when its turn begins: they were loaded in the other's."""


def main() -> None:
    options = _options()
    count, rounds, seconds = (512, 3, 3.0) if options.short else (options.images, options.rounds, options.seconds)
    title = "Samples loaded while a network trains, by hpo's Torch(...) and by a DataLoader"
    with recorded("loaders", title, options.record), tempfile.TemporaryDirectory() as place:
        write_images(Path(place), count, (500, 375), "jpg")
        print(f"{rounds} rounds of {seconds:g} s a side; median (lowest .. highest)\n")
        print(f"{'':>32}{'hpo':>28}{'DataLoader loop':>28}   hpo has")
        for name, samples in (("500 x 375 JPEG, augmented", "photographs"), ("tensors [3, 64, 64]", "tensors")):
            _compare(name, samples, Path(place), rounds, seconds)


def _compare(name: str, samples: str, place: Path, rounds: int, seconds: float) -> None:
    speeds: dict[str, list[float]] = {side: [] for side in SIDES}
    cpu: dict[str, list[float]] = {side: [] for side in SIDES}
    memory = dict.fromkeys(SIDES, 0.0)
    with ExitStack() as stack:
        sides = {side: Side(side, place, stack, arm="benchmarks.loader_arm", alone=True) for side in SIDES}
        for side in sides.values():
            side.ask(do="begin", config={"samples": samples})
            side.ask(do="train", seconds=1.0, steps=20)  # its processes start, and what they shared is copied
        for number in range(rounds):
            for label in SIDES if number % 2 == 0 else SIDES[::-1]:
                sides[label].ask(do="train", seconds=0.0, steps=LOADED_AHEAD)
                before = _cpu_seconds(sides[label])
                (answer,) = sides[label].ask(do="train", seconds=seconds, steps=20)
                speeds[label].append(answer["images"] / answer["seconds"])
                cpu[label].append((_cpu_seconds(sides[label]) - before) / answer["images"])
                memory[label] = max(memory[label], _pss(sides[label]))
    print(name)
    ratios = [ours / theirs for ours, theirs in zip(speeds["hpo"], speeds["script"], strict=True)]
    shown = [spread(speeds[side], digits=0) for side in SIDES]
    print(f"{'images per second':>32}{shown[0]:>28}{shown[1]:>28}   {spread(ratios, 100, 0)} %")
    shown = [spread(cpu[side], 1000, 2) for side in SIDES]
    print(f"{'CPU milliseconds an image':>32}{shown[0]:>28}{shown[1]:>28}")
    print(f"{'memory':>32}{memory['hpo'] / 1e6:>25,.0f} MB{memory['script'] / 1e6:>25,.0f} MB")


def _cpu_seconds(side: Side) -> float:
    return sum(times.user + times.system for times in (one.cpu_times() for one in _processes(side)))


def _pss(side: Side) -> float:
    return float(sum(one.memory_full_info().pss for one in _processes(side)))


def _processes(side: Side) -> Iterator[psutil.Process]:
    for number in side.process_ids:
        trainer = psutil.Process(number)
        yield trainer
        yield from trainer.children(recursive=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loaders")
    parser.add_argument("--images", type=int, default=3000, help="JPEGs in the folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
