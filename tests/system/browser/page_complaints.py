"""What a page in a browser complains of."""

from __future__ import annotations

from typing import Any


def complaints(page: Any) -> list[str]:
    """Grows by every error on the console and every exception that nobody caught, from now on."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said
