"""`--notify URL`: a message when the run has ended, and how, by apprise to whatever service the address names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hpo.errors import HpoError, UsageError
from hpo.result import Result
from hpo.search.listening import Listener
from hpo.wording import params_text, score

__all__ = ["Notifier"]


class Notifier(Listener):
    """Addresses hold tokens and passwords: none of them is said, logged or stored anywhere.

    Raises UsageError where apprise is not installed, or does not know an address.
    """

    name = "--notify"

    def __init__(self, study: str, addresses: str | Sequence[str]) -> None:
        urls = [addresses] if isinstance(addresses, str) else list(addresses)
        self._study = study
        try:
            import apprise
        except ImportError:
            raise UsageError("--notify needs apprise", next="pip install 'hpo[notify]'") from None
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs addresses
        self._services: Any = apprise.Apprise()
        for index, url in enumerate(urls, start=1):
            if not self._services.add(url):
                which = f" number {index}" if len(urls) > 1 else ""
                raise UsageError(
                    f"--notify: apprise knows no service for the address{which}, which is not shown here",
                    next="its documentation lists them: ntfy://topic, mailto://, slack://, json://host",
                )

    def ended(self, result: Result) -> None:
        counts = ", ".join(f"{count} {state}" for state, count in result.counts.items() if count) or "no trials"
        best = result.best
        found = f"best {score(best.value)}, trial {best.trial}: {params_text(best.params)}" if best else "no best yet"
        self._send(f"hpo: {self._study} ended ({result.stopped})", f"{counts}\n{found}")

    def failed(self, error: BaseException) -> None:
        said = error.fact if isinstance(error, HpoError) else type(error).__name__
        self._send(f"hpo: {self._study} ended by an error", said)

    def described(self, error: BaseException) -> str:
        return "--notify: the message could not be delivered"

    def _send(self, title: str, body: str) -> None:
        if not self._services.notify(title=title, body=body):
            raise ConnectionError
