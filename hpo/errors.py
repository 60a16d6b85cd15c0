"""Every error `hpo` raises on purpose, as one tree.

    HpoError                exit code
    ├── UsageError          2   the command line or an argument makes no sense
    ├── StudyError          2   a declaration that cannot be loaded or run
    ├── DeclarationChanged  3   the study exists under this name with a different table
    ├── CodeMismatch        3   another host works, or worked, on the study with other code
    ├── StorageError        4   the database cannot be reached, or is not one that hpo can use
    ├── DataError           5   data set files missing, altered or of the wrong shape
    ├── DeviceError         5   no such device, or it does not work
    └── RepeatedFailure    70   the same bug in a model or study, trial after trial

An error carries a fact with the value in it, evidence lines, and one next action, and `str(error)` prints all three:

    study "mlp_mnist" was started with a different table (47 finished trials)
      lr   1e-05 .. 0.1 log   ->   0.0001 .. 1.0 log
    next: give the study a new name, or restore the row above
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from hpo.printable import one_line

__all__ = [
    "EXIT_CODES",
    "CodeMismatch",
    "DataError",
    "DeclarationChanged",
    "DeviceError",
    "HpoError",
    "RepeatedFailure",
    "StorageError",
    "StudyError",
    "UsageError",
    "near_miss",
]

EXIT_CODES = {
    0: "done: the budget is used up, or the answer is printed",
    1: "the answer is no: `hpo reproduce` got another result, `hpo doctor` found something broken, or the trial of"
    " `hpo run --debug` failed",
    2: "wrong usage, or a study that cannot run",
    3: "the study was started with another table or other code of your own, or another host runs it with other code",
    4: "database: not reachable, not one that hpo can use, or away for too long. The next `hpo` "
    "command saves what the error says is kept",
    5: "device or data",
    70: "a bug in hpo (with its traceback), one error of a study five times in a row, or every finished trial failed",
    129: "SIGHUP, when the terminal is closed or the connection drops: like Ctrl-C; under `nohup` hpo keeps running",
    130: "Ctrl-C: every trial is saved and paused; a second Ctrl-C leaves at once",
    141: "the program reading the output closed the pipe",
    143: "SIGTERM: like Ctrl-C",
}
"""Every exit code of an hpo command, in the words of README.md and `hpo --help`."""


class HpoError(Exception):
    """A mistake that the user can act on: shown without a traceback; the process ends with `exit_code`."""

    exit_code = 70

    def __init__(self, fact: str, *, evidence: Iterable[str] = (), next: str = "") -> None:
        super().__init__(fact)
        self.fact = fact
        self.evidence = tuple(line for line in evidence if line.strip())
        self.next = next

    def __str__(self) -> str:
        lines = [one_line(self.fact), *(f"  {one_line(line)}" for line in self.evidence)]
        if self.next:
            lines.append(f"next: {one_line(self.next)}")
        return "\n".join(lines)


class UsageError(HpoError):
    exit_code = 2


class StudyError(HpoError):
    exit_code = 2


class DeclarationChanged(HpoError):
    exit_code = 3


class CodeMismatch(HpoError):
    exit_code = 3


class StorageError(HpoError):
    exit_code = 4


class DataError(HpoError):
    exit_code = 5


class DeviceError(HpoError):
    exit_code = 5


class RepeatedFailure(HpoError):
    exit_code = 70


def near_miss(word: str, known: Iterable[str]) -> str:
    """`did you mean "lr"?` when a known name is close to `word`, else the list of known names."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names)}" if names else "none are known"
