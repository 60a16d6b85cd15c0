"""The fixtures of report_studies."""

from __future__ import annotations

from report_studies import quiet_optuna, report_of, stored

__all__ = ["quiet_optuna", "report_of", "stored"]
