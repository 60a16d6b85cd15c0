"""The report of a study: facts computed once (`ReportData`); the page, the CSV files and report.json print them."""

from __future__ import annotations

from hpo.report.data import ReportData, build_report
from hpo.report.folder import WrittenReport, write_report

__all__ = ["ReportData", "WrittenReport", "build_report", "write_report"]
