"""Connections to the dashboard: none blocks the others, however slowly it sends and even if it stops halfway.

waitress closes a connection after two silent minutes, and at its limit accepts no more: a hundred half-sent requests
lock everybody out. Here a request must arrive within a time limit, and when there are too many connections the least
important one is closed.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser

from hpo.dashboard.login import Login

__all__ = ["LOOKED_AFTER_SECONDS", "bound"]

MOST, MOST_OF_AN_ADDRESS = 200, 100
HEADER_SECONDS, BODY_SECONDS = 20.0, 300.0
LOOKED_AFTER_SECONDS = 5
STRANGERS_BYTES = 64 << 10
"""The largest request before its login is known: no stranger can fill the disk with what nobody will read."""


def bound(server: Any, login: Login | None) -> None:
    """Give `server`, a waitress server, the limits of this file. `login` knows its users."""

    class Parser(HTTPRequestParser):  # type: ignore[misc] # waitress is untyped
        adj: Any

        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            if login is not None and not login.recognises(self.headers.get("AUTHORIZATION", "")):
                self.adj = copy.copy(self.adj)
                self.adj.max_request_body_size = min(STRANGERS_BYTES, self.adj.max_request_body_size)

    class Channel(HTTPChannel):  # type: ignore[misc]
        parser_class = Parser
        began: float | None = None  # when an unfinished request's first byte came
        _partial: object = None

        def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
            super().__init__(server, sock, addr, adj, map=map)
            _make_room(list(server.active_channels.values()), self, login)

        def received(self, data: bytes) -> Any:
            done = super().received(data)
            if self.request is not self._partial:
                self._partial = self.request
                self.began = None if self.request is None else time.time()
            return done

    maintain: Callable[[float], None] = server.maintenance

    def maintenance(now: float) -> None:
        maintain(now)
        for channel in list(server.active_channels.values()):
            if channel.began is not None and not channel.requests and _is_late(channel, now):
                channel.will_close = True

    server.channel_class, server.maintenance = Channel, maintenance


def _is_late(channel: Any, now: float) -> bool:
    whole = channel.request is not None and channel.request.headers_finished
    return bool(now - channel.began > (BODY_SECONDS if whole else HEADER_SECONDS))


def _make_room(channels: list[Any], newest: Any, login: Login | None) -> None:
    """Close one connection if there are too many, from the newest one's address or in all."""
    of = Counter(channel.addr[0] for channel in channels)
    mine = [channel for channel in channels if channel.addr[0] == newest.addr[0]]
    if len(mine) > MOST_OF_AN_ADDRESS:
        candidates = mine
    elif len(channels) > MOST:
        candidates = channels
    else:
        return

    def worth(channel: Any) -> tuple[bool, bool, int, float]:
        known = login is not None and login.attempts.knows(channel.addr[0])
        return _worth(channel, known=known, of_its_address=of[channel.addr[0]])

    min((channel for channel in candidates if channel is not newest), key=worth).handle_close()


def _worth(channel: Any, *, known: bool, of_its_address: int) -> tuple[bool, bool, int, float]:
    """The least is closed: one that is not being served, a stranger's, from the busiest address, the oldest."""
    return bool(channel.requests), known, -of_its_address, channel.creation_time
