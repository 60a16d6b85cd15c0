"""A program that takes its time: `slow_program.py MANNERS LEVEL FOLDER`. It notes its epochs in FOLDER/epochs.

manners: "polite" keeps its epoch on SIGTERM and ends; "deaf" ignores it, and so does its child
While a file `hold` stands with the checkpoints, no epoch ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

manners, folder = sys.argv[1], Path(sys.argv[3])
level = float(sys.argv[2]) - int(os.environ["HPO_TRIAL_NUMBER"])
kept = folder / "epochs"
stopping: list[int] = []


def children() -> int:
    """How many there are of this study, of whichever trial."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes()
            found += b"slow_program.py's child" in words and bytes(folder.parent) in words
    return found


print("children of others:", children(), flush=True)
if manners == "polite":
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "slow_program.py's child", str(folder)])

epoch = int(kept.read_text()) if kept.exists() else 0
while epoch < 12:
    time.sleep(0.1)
    while (folder.parents[1] / "hold").exists():
        time.sleep(0.05)
    with open(os.environ["HPO_METRICS"], "a", encoding="ascii") as file:
        file.write(json.dumps({"epoch": epoch, "score": level + (epoch == 2)}) + "\n")
    epoch += 1
    kept.write_text(str(epoch))
    print("epoch", epoch, flush=True)
    if stopping:
        print("told to stop", flush=True)
        sys.exit(0)
