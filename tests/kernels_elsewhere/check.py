"""The C kernels as other compilers and ARM compute them: `make test-arm`.

Each compiler makes two programs of the kernels' sources, which take numbers and give results without Python, and
torch's float64 on this machine says what is right. A program for ARM runs under qemu, so nothing needs an ARM machine;
what is not installed is said in the table (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user, clang).
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hpo.training.kernels.native import FOLDER, SOURCES
from hpo.training.kernels.rounding import agree

HERE = Path(__file__).parent
PROGRAMS = {"chain": "chain_check.c", "channels_last": "channels_last_check.c"}


@dataclass(frozen=True)
class Machine:
    """How the programs are made, and what runs them: nothing, or an emulator."""

    name: str
    compiler: str
    options: tuple[str, ...]
    runner: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        return [program for program in (self.compiler, *self.runner) if shutil.which(program) is None]


NATIVE = "-march=native" if platform.machine() == "x86_64" else "-mcpu=native"
MACHINES = (
    Machine("this processor, cc", "cc", (NATIVE,)),
    Machine("this processor, clang", "clang", (NATIVE,)),
    Machine("ARM64, gcc", "aarch64-linux-gnu-gcc", ("-march=armv8-a", "-static"), ("qemu-aarch64",)),
    Machine("ARM64, clang", "clang", ("--target=aarch64-linux-gnu", "-static"), ("qemu-aarch64",)),
)

Trial = tuple[str, tuple[str, ...], list[Tensor], list[Tensor]]
"""Program, words, float32 tensors that it reads, and float64 ones that are right."""


def trials() -> Iterator[Trial]:
    """What is computed: steps of two layers for few images and for more, a stage of convolution, and two layers of
    channels-last images."""
    torch.manual_seed(0)
    for optimizer in ("adam", "sgd"):
        for count in (3, 7, 9, 33):
            yield step(optimizer, count)
    x, w, b, g = torch.randn(5, 2, 6, 6), torch.randn(7, 2, 3, 3), torch.randn(7), torch.randn(5, 63)
    weight, bias = w.double().requires_grad_(), b.double().requires_grad_()
    y = F.relu(F.max_pool2d(F.conv2d(x.double(), weight, bias, padding=1), 2)).flatten(1)
    yield "chain", ("stage",), [x, w, b, g], [y.detach(), *torch.autograd.grad(y, (weight, bias), g.double())]
    yield layers()


def step(optimizer: str, count: int) -> Trial:
    x, *values = (torch.randn(shape) for shape in ((count, 37), (21, 37), (21,), (9, 21), (9,)))
    values = [value / 4 for value in values]
    exact = [value.double().requires_grad_() for value in values]
    hidden = F.relu(F.linear(x.double(), *exact[:2]))
    loss = F.cross_entropy(F.linear(hidden, *exact[2:]), torch.arange(count) % 9, label_smoothing=0.1)
    after = [loss.detach()]
    for value, slope in zip(exact, torch.autograd.grad(loss, exact), strict=True):
        decayed = slope + 0.1 * value
        change = decayed / (decayed.abs() + 0.1) if optimizer == "adam" else slope
        after.append((value - 0.5 * change).detach())
    return "chain", ("learn", optimizer, str(count)), [x, *values], after


def layers() -> Trial:
    x, w, g = torch.randn(2, 20, 9, 9), torch.randn(20, 1, 3, 3), torch.randn(2, 20, 5, 5)
    exact = [value.double().requires_grad_() for value in (x, w)]
    y = F.conv2d(F.max_pool2d(exact[0], 3, 1, 1), exact[1], None, 2, 1, 1, 20)
    dx, dw = torch.autograd.grad(y, exact, g.double())
    pixels = [value.permute(0, 2, 3, 1) for value in (x, g, dx)]
    taps = [value.reshape(20, 9).t() for value in (w, dw)]
    return "channels_last", (), [pixels[0], taps[0], pixels[1]], [pixels[2], taps[1]]


def built(machine: Machine, place: Path) -> dict[str, Path]:
    """The programs; CalledProcessError with the compiler's words where it makes none."""
    programs = {name: place / name for name in PROGRAMS}
    for name, source in PROGRAMS.items():
        others = [str(FOLDER / file) for file in SOURCES[name] if file not in ("chain.c", "channels_last.c")]
        words = [machine.compiler, "-O3", *machine.options, "-std=gnu11", f"-I{FOLDER}", "-o", str(programs[name])]
        subprocess.run([*words, str(HERE / source), *others, "-lm"], check=True, capture_output=True, text=True)
    return programs


def right(machine: Machine, program: Path, words: Sequence[str], given: list[Tensor], exact: list[Tensor]) -> bool:
    payload = b"".join(value.contiguous().numpy().tobytes() for value in given)
    done = subprocess.run([*machine.runner, str(program), *words], input=payload, capture_output=True, check=True)
    found = torch.frombuffer(bytearray(done.stdout), dtype=torch.float32)
    parts = found.split([value.numel() for value in exact])
    return agree([part.view(value.shape) for part, value in zip(parts, exact, strict=True)], exact)


def covered(machine: Machine) -> tuple[bool, str]:
    """(whether all is right or nothing could be tried, a line for the table)."""
    if machine.missing:
        return True, f"not covered: no {', '.join(machine.missing)}"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hpo-kernels-") as folder:
        try:
            programs = built(machine, Path(folder))
            tried = {" ".join([each[0], *each[1]]): right(machine, programs[each[0]], *each[1:]) for each in trials()}
        except subprocess.CalledProcessError as error:
            return False, f"{error.cmd[0]} ended with {error.returncode}: {str(error.stderr)[-300:]}"
    wrong = [words for words, fine in tried.items() if not fine]
    seconds = f"{time.monotonic() - began:.0f} s"
    return not wrong, f"wrong: {'; '.join(wrong)}" if wrong else f"{len(tried)} computations right, {seconds}"


def main() -> int:
    done = [(machine, *covered(machine)) for machine in MACHINES]
    for machine, _, line in done:
        print(f"{machine.name:<24}{line}")
    return int(not all(fine for _, fine, _ in done))


if __name__ == "__main__":
    sys.exit(main())
