"""How often somebody may try to log in: per address, so that one cannot guess for long, and in all, so many cannot.

A try costs one scrypt, 50 ms and 16 MB. A refusal here comes before that and costs nothing.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Attempts", "TooManyAttempts"]

PER_ADDRESS = (5, 12.0)
"""Tries at once, and seconds until the next one; five a minute in the long run."""
IN_ALL = (20, 1.0)
MOST_ADDRESSES = 4096


class TooManyAttempts(Exception):
    """The next try is possible in `seconds`. `first`: the first refusal since a try was let through."""

    def __init__(self, seconds: float, *, first: bool) -> None:
        super().__init__(f"try again in {seconds:.0f} s")
        self.seconds, self.first = seconds, first


@dataclass
class _Bucket:
    """Tries left, as of `since`."""

    most: int
    seconds_each: float
    left: float
    since: float
    refused: bool = False

    def wait(self, now: float) -> float:
        """Seconds until the next try; 0 if there is one left."""
        self.left = min(self.most, self.left + (now - self.since) / self.seconds_each)
        self.since = now
        return max(0.0, (1.0 - self.left) * self.seconds_each)


class Attempts:
    """Counts failed logins. An address that has logged in is not held up by what others do."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = self._bucket(IN_ALL)
        self._of: OrderedDict[str, _Bucket] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def spend(self, address: str) -> None:
        """Count a try of `address`. Raises TooManyAttempts, and counts nothing, where it has none left."""
        group, now = _group(address), self._clock()
        mine = self._of.setdefault(group, self._bucket(PER_ADDRESS))
        self._of.move_to_end(group)
        if len(self._of) > MOST_ADDRESSES:
            self._of.popitem(last=False)
        for bucket in (mine,) if group in self._known else (mine, self._all):
            if wait := bucket.wait(now):
                first, bucket.refused = not bucket.refused, True
                raise TooManyAttempts(wait, first=first)
        for bucket in (mine, self._all):
            bucket.left, bucket.refused = bucket.left - 1.0, False

    def succeeded(self, address: str) -> None:
        """The last try of `address` was right: forget it."""
        group = _group(address)
        self._of.pop(group, None)
        self._all.left += 1.0
        self._known[group] = None
        if len(self._known) > MOST_ADDRESSES:
            self._known.popitem(last=False)

    def knows(self, address: str) -> bool:
        """Whether somebody has logged in from `address`."""
        return _group(address) in self._known

    def _bucket(self, limit: tuple[int, float]) -> _Bucket:
        return _Bucket(*limit, left=limit[0], since=self._clock())


def _group(address: str) -> str:
    """The address to count by: whoever has one IPv6 address has 2**64 of them."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return str(parsed if parsed.version == 4 else ipaddress.ip_network((parsed, 64), strict=False))
