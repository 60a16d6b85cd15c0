"""What a study found, computed once: every command, the report and the dashboard show these words and numbers.

Is it better than my baseline? With what settings? What mattered? What should I do next? docs/insight.md has the JSON.
"""

from __future__ import annotations

from hpo.insight.answers import Insight, insight_of

__all__ = ["Insight", "insight_of"]
