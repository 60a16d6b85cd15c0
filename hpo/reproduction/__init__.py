"""Train a trial again from what it recorded, and say whether the result is the same, and what differs if not."""

from __future__ import annotations

from hpo.reproduction.reproduce import Reproduction, reproduce

__all__ = ["Reproduction", "reproduce"]
