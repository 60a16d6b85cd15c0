"""Is everything that a search needs in order? Database, trials, disk, devices, data and versions, one by one."""

from __future__ import annotations

from hpo.doctor.checkup import checkup
from hpo.doctor.finding import Finding

__all__ = ["Finding", "checkup"]
