"""The fixtures of training_jobs."""

from __future__ import annotations

from training_jobs import data, device, folders, home, kernels_are_compiled_elsewhere, make_job

__all__ = ["data", "device", "folders", "home", "kernels_are_compiled_elsewhere", "make_job"]
