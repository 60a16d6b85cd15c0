"""optuna-dashboard behind a guard: with a login, read-only where others can reach it, closed to other web sites."""

from __future__ import annotations

from hpo.dashboard.login import Login, read_login
from hpo.dashboard.serving import Dashboard, is_loopback

__all__ = ["Dashboard", "Login", "is_loopback", "read_login"]
