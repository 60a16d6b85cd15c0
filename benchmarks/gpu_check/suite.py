"""The tests marked gpu."""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks.gpu_check.jobs import ON_GPU
from benchmarks.gpu_check.rows import tell

TESTS = ("tests/system/gpu", "tests/unit/data/test_data_augment.py")


def main() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *TESTS, "-q", "-m", "gpu", "--tb=short", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr, flush=True)
    ends = [line for line in done.stdout.splitlines() if re.search(r"\d+ (passed|failed|skipped|error)", line)]
    failed = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    passed = done.returncode == 0 and bool(ends) and "passed" in ends[-1]
    figure = f"{ends[-1] if ends else 'no test was run'} {' '.join(failed)}".strip()[:600]
    tell("the tests marked gpu pass", passed if ON_GPU else None, figure)


if __name__ == "__main__":
    main()
