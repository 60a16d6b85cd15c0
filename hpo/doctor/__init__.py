"""Checks whether everything a search needs is in order: database, trials, disk, devices, data and versions."""

from __future__ import annotations

from hpo.doctor.checkup import checkup
from hpo.doctor.finding import Finding

__all__ = ["Finding", "checkup"]
