"""`hpo run` that ends when a trial has the wanted value: python -m benchmarks.search_hpo STUDY SEED TARGET."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import Any

import hpo
from hpo.study.discovery import find_study


def main() -> None:
    name, seed, target = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    found = find_study(name)

    def watch(snapshot: Any) -> None:
        scores = [slot.score or 0.0 for slot in snapshot.slots]
        if max([snapshot.best.value if snapshot.best else 0.0, *scores]) >= target:
            os.kill(os.getpid(), signal.SIGINT)

    # It may stop in mid-trial: what is waited for is an epoch that has the value, as in the script.
    hpo.run(replace(found, study=replace(found.study, seed=seed)), on_snapshot=watch)


if __name__ == "__main__":
    main()
