"""Every random number of a study comes from (study seed, trial number): no two trials share a stream."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

__all__ = ["evaluation_seed", "sampler_seed", "trial_seed"]


def trial_seed(study_seed: int, number: int) -> int:
    """The seed with which trial `number` initialises weights and orders its data, in 0 .. 2**31-1."""
    return _derive("trial", study_seed, number)


def sampler_seed(study_seed: int, number: int, again: int = 0) -> int:
    """The seed of the sampler that proposes trial `number`.

    With equal seeds several workers would propose the same first points, and a resumed run would repeat them.

    again: how often it was asked for this trial before, in vain
    """
    return _derive(f"sampler/{again}" if again else "sampler", study_seed, number)


def evaluation_seed(study_seed: int, configuration: str, index: int, used: Collection[int] = ()) -> int:
    """The seed of run `index` of a configuration (by its key) in `hpo evaluate`; never one of `used`."""
    attempt = 0
    while (seed := _derive(f"evaluation/{configuration}/{attempt}", study_seed, index)) in used:
        attempt += 1
    return seed


def _derive(purpose: str, study_seed: int, number: int) -> int:
    digest = hashlib.sha256(f"{purpose}/{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
