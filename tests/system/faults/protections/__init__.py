"""What docs/failures.md rests on, as data: the place of each protection, and the test that fails when it is taken out.

tests/system/faults/take_out.py does that, one after the other. A file for each kind of fault.
"""

from __future__ import annotations

from protections.commands import COMMANDS_PROTECTIONS
from protections.database import DATABASE_PROTECTIONS
from protections.files import FILES_PROTECTIONS
from protections.frozen import FROZEN_PROTECTIONS
from protections.gangs import GANGS_PROTECTIONS
from protections.hosts import HOSTS_PROTECTIONS
from protections.people import PEOPLE_PROTECTIONS
from protections.protection import Protection
from protections.trials import TRIALS_PROTECTIONS

__all__ = ["PROTECTIONS", "Protection"]

PROTECTIONS = (
    *TRIALS_PROTECTIONS,
    *GANGS_PROTECTIONS,
    *HOSTS_PROTECTIONS,
    *DATABASE_PROTECTIONS,
    *FILES_PROTECTIONS,
    *PEOPLE_PROTECTIONS,
    *COMMANDS_PROTECTIONS,
    *FROZEN_PROTECTIONS,
)
