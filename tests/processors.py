"""The tests that compute, again as other processors and compilers compute: `make test-processors`.

Arithmetic differs in its last bits with the width of vectors, with fused multiplication, with the compiler and with the
number of threads. Each setting below imitates one such machine on this one, and the tests marked `numeric` have to pass
on all of them. What this machine cannot imitate is said in the table, with the reason, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
SSE4 = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
TWO_THREADS = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}


@dataclass(frozen=True)
class Setting:
    """How to compute.

    compiler:   of the kernels, "cc" for whichever there is; None for a machine without one
    processor:  that the kernels are made for, as in -march
    capability: of torch; None for this processor's own
    """

    name: str
    compiler: str | None = "cc"
    processor: str = "native"
    capability: str | None = None
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


SETTINGS = (
    Setting("AVX2", processor="x86-64-v3", capability="AVX2", environment=AVX2),
    Setting("no AVX, no FMA", processor="x86-64-v2", capability="DEFAULT", environment=SSE4),
    Setting("no compiler", compiler=None),
    Setting("clang, two threads", compiler="clang", threads=2, environment=TWO_THREADS),
)

WRAPPER = """#!/bin/sh
# {compiler}, which takes every -march=native for {processor} and writes down what it compiles.
for word; do
    shift
    [ "$word" = -march=native ] && word=-march={processor}
    set -- "$@" "$word"
done
echo "$@" >> {log}
exec {compiler} "$@"
"""

PROBE = """
import json, torch
from hpo.training.kernels import native
kernels = [native.library(name) is not None for name in native.SOURCES]
print(json.dumps([torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), kernels]))
"""


@dataclass
class Row:
    """A line of the table: `note` says why a setting is not covered, or what did not take effect."""

    setting: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""
    broken: bool = False
    output: str = ""


def cover(setting: Setting, place: Path) -> Row:
    """Run the tests under a setting, in a folder of its own, after a look whether the setting takes effect."""
    if reason := obstacle(setting):
        return Row(setting.name, note=f"not covered: {reason}")
    place.mkdir()
    log = place / "compiled.txt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **setting.environment, "CC": wrapped(setting, place, log)}
    environment |= {"HPO_HOME": str(place / "home"), "XDG_CACHE_HOME": str(place)}
    if wrong := without_effect(setting, environment):
        return Row(setting.name, note=wrong, broken=True)
    log.unlink(missing_ok=True)
    row = tested(setting, environment, place)
    if not row.passed:
        row.note, row.broken = "no test ran", True
    elif setting.compiler and not log.exists():  # the probe has compiled, into a home that the tests do not use
        row.note, row.broken = "the tests have compiled no kernels", True
    return row


def obstacle(setting: Setting) -> str | None:
    """Why this machine cannot imitate the setting."""
    found = compiler_path(setting)
    if setting.compiler and not found:
        return "no C compiler" if setting.compiler == "cc" else f"no {setting.compiler}"
    if setting.capability or setting.processor != "native":
        if platform.machine() not in {"x86_64", "AMD64"}:
            return f"x86 only, and this is {platform.machine()}"
        if setting.capability == "AVX2" and own_capability() not in {"AVX2", "AVX512"}:
            return "no AVX2"
    if found:
        trial = [found, f"-march={setting.processor}", "-x", "c", "-c", "-o", os.devnull, os.devnull]
        if subprocess.run(trial, capture_output=True).returncode:
            return f"{found} does not know -march={setting.processor}"
    return None


@cache
def own_capability() -> str:
    program = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def compiler_path(setting: Setting) -> str | None:
    names = ("cc", "gcc", "clang") if setting.compiler == "cc" else (setting.compiler or "",)
    return next(filter(None, map(shutil.which, names)), None)


def wrapped(setting: Setting, place: Path, log: Path) -> str:
    """What CC says: a compiler for the setting's processor, or a program that always fails."""
    if setting.compiler is None:
        return shutil.which("false") or "/bin/false"
    wrapper = place / "cc"
    wrapper.write_text(WRAPPER.format(compiler=compiler_path(setting), processor=setting.processor, log=log))
    wrapper.chmod(0o755)
    return str(wrapper)


def without_effect(setting: Setting, environment: Mapping[str, str]) -> str:
    """What the setting should have changed and has not; empty where all is as asked."""
    words = [sys.executable, "-c", PROBE]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        return f"the probe failed: {done.stderr.strip().splitlines()[-1:]}"
    capability, threads, kernels = json.loads(done.stdout)
    if setting.capability and capability != setting.capability:
        return f"torch computes with {capability}, not {setting.capability}"
    if threads != setting.threads:
        return f"torch has {threads} threads, not {setting.threads}"
    if set(kernels) != {setting.compiler is not None}:
        return f"kernels loaded: {kernels}"
    return ""


def tested(setting: Setting, environment: Mapping[str, str], place: Path) -> Row:
    report = place / "report.xml"
    words = [sys.executable, "-m", "pytest", "-q", "-m", "numeric", "-p", "no:cacheprovider", "--tb=short"]
    words += [f"--junitxml={report}", f"--basetemp={place / 'tests'}", *numeric_files()]
    began = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    row = Row(setting.name, seconds=time.monotonic() - began, output=done.stdout, broken=done.returncode != 0)
    if report.exists():
        for suite in ET.parse(report).iter("testsuite"):
            tests, row.skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
            row.failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
            row.passed = tests - row.failed - row.skipped
    return row


def numeric_files() -> list[str]:
    """Those that have the mark: to import all the others takes 13 s, as much as a fifth of a setting."""
    return [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.numeric" in path.read_text()]


def line(row: Row) -> str:
    figures = f"{row.passed:>7} {row.failed:>7} {row.skipped:>8} {row.seconds:>8.0f}"
    return f"{row.setting:<20} {figures if row.seconds else '-':>33}  {row.note}".rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(repr(setting.name) for setting in SETTINGS)}")
    only = parser.parse_args().only
    settings = [setting for setting in SETTINGS if not only or setting.name in only]
    if unknown := set(only) - {setting.name for setting in settings}:
        parser.error(f"no such setting: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="hpo-processors-") as folder, ThreadPoolExecutor(2) as two_at_a_time:
        places = [Path(folder) / str(number) for number in range(len(settings))]
        rows = list(two_at_a_time.map(cover, settings, places))
    for row in rows:
        if row.broken and row.output:
            print(f"---- {row.setting}\n{row.output}")
    print(f"this processor: {own_capability()}, {platform.machine()}; two settings at a time")
    print(f"{'setting':<20} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    print("\n".join(line(row) for row in rows))
    return int(any(row.broken for row in rows))


if __name__ == "__main__":
    sys.exit(main())
