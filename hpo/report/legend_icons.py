"""The marks of the plots as small drawings, so that a key on the page looks like the plots."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from hpo.report.theme import COLOURS, OPACITY, SYMBOLS

__all__ = ["legend_icons"]

_SHAPES = {
    "circle": '<circle cx="7" cy="7" r="4"/>',
    "square": '<rect x="3" y="3" width="8" height="8"/>',
    "star": '<path d="M7 .8 8.9 5h4.4L9.8 7.9l1.3 4.5L7 9.8l-4.1 2.6 1.3-4.5L.7 5h4.4z"/>',
    "diamond": '<path d="M7 1.2 12.8 7 7 12.8 1.2 7z"/>',
    "triangle-up": '<path d="M7 2 12.2 11.2H1.8z"/>',
    "x": '<path d="M4.5 2.4 7 4.9l2.5-2.5 2.1 2.1L9.1 7l2.5 2.5-2.1 2.1L7 9.1l-2.5 2.5-2.1-2.1L4.9 7 2.4 4.5z"/>',
}
"""By plotly's names, drawn in a square of 14 x 14."""


def legend_icons() -> Mapping[str, Markup]:
    """An inline <svg> for each outcome, with the colour, symbol and opacity that its marks have."""
    return {outcome: _drawn(outcome) for outcome in COLOURS}


def _drawn(outcome: str) -> Markup:
    colour, symbol = COLOURS[outcome], SYMBOLS[outcome]
    painted = f'fill="none" stroke="{colour}" stroke-width="1.4"' if symbol.endswith("-open") else f'fill="{colour}"'
    shape = _SHAPES[symbol.removesuffix("-open")]
    return Markup(  # of our own tables alone
        f'<svg class="mark" viewBox="0 0 14 14" aria-hidden="true" {painted} opacity="{OPACITY[outcome]}">{shape}</svg>'
    )
