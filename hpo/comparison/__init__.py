"""Studies side by side: which found more, beyond chance or not, with what settings, and what each cost."""

from __future__ import annotations

from hpo.comparison.comparison import StudyComparison, compare_studies
from hpo.comparison.page import write_comparison

__all__ = ["StudyComparison", "compare_studies", "write_comparison"]
