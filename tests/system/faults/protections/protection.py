"""One protection, and where the tests are that fail without it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "COMMANDS",
    "DATABASE",
    "FIT",
    "FORKED",
    "FRESH",
    "GANG",
    "GANG_TRAINER",
    "HOSTS",
    "LIMITS",
    "MIGRATIONS",
    "OBJECTIVE",
    "OWNERSHIP",
    "RESUME",
    "SHARED",
    "SHARED_TRIAL",
    "TRAINER",
    "TRIALS",
    "Protection",
]


@dataclass(frozen=True)
class Protection:
    """name: as in the last column of docs/failures.md. file: below hpo/. function: the one in it, or the constant.

    code, without: an expression or statement in there, and what stands there when the protection is taken out. Both are
                   read as code (altered_code.py), so no layout has to be kept
    test:  below tests/, as pytest names it
    fails: words in which that test then fails: that it fails for this reason, and not for a slip of ours
    """

    name: str
    file: str
    function: str
    code: str
    without: str
    test: str
    fails: str


TRIALS, HOSTS, DATABASE, RESUME, SHARED, COMMANDS, OBJECTIVE = (
    f"system/faults/test_{name}.py::test_"
    for name in ("trials", "hosts", "database", "resume", "shared", "command", "objective")
)
MIGRATIONS = "system/storage/test_migrations.py::test_"
LIMITS = "system/dashboard/test_limits.py::test_"
OWNERSHIP = "system/storage/test_ownership.py::test_"
FORKED = "system/training/test_fork_server.py::test_"
GANG = "system/training/test_gang_trainer.py::test_"
GANG_TRAINER = "unit/test_gang_decisions.py::test_"
SHARED_TRIAL = "unit/training/test_shared_trial.py::test_"
FRESH = "system/training/test_fresh_process.py::test_"
FIT, TRAINER = "unit/training/test_training_fit.py::test_", "system/training/test_trainer.py::test_"
