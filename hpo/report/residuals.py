"""Residuals of a regression, drawn small: how far each prediction lies from its target, over the targets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from hpo.wording import value_text

__all__ = ["residual_plot"]

WIDTH, HEIGHT, LEFT, BELOW = 420, 220, 62, 34
"""Of the drawing, and the room for the numbers beside and below it."""


def residual_plot(pairs: Sequence[Sequence[float]], name: str) -> Markup:
    """An SVG of [target, prediction] pairs: the target across, the prediction less the target up. "" without any."""
    dots = [(one[0], one[1] - one[0]) for one in pairs if len(one) == 2 and all(map(math.isfinite, one))]
    if not dots:
        return Markup("")
    low, high = min(x for x, _ in dots), max(x for x, _ in dots)
    most = max(abs(y) for _, y in dots) or 1.0
    middle, wide = (HEIGHT - BELOW) / 2, WIDTH - LEFT - 8

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - low) / (high - low) if high > low else 0.5
        return LEFT + wide * across, middle - (middle - 6) * y / most

    drawn = Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.2" fill-opacity=".55"/>').format(*place(*dot)) for dot in dots
    )
    label = f"Residuals of {name}: {len(dots)} test items, at most {value_text(most)} from their targets"
    texts = [
        (LEFT - 6, 12, "end", f"+{value_text(most)}"),
        (LEFT - 6, middle + 4, "end", "0"),
        (LEFT - 6, 2 * middle, "end", f"-{value_text(most)}"),
        (LEFT, HEIGHT - BELOW + 16, "start", value_text(low)),
        (WIDTH - 8, HEIGHT - BELOW + 16, "end", value_text(high)),
        (LEFT + wide / 2, HEIGHT - 4, "middle", f"{name}: target; up: prediction less target"),
    ]
    written = Markup("").join(
        Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(*text) for text in texts
    )
    return Markup(
        '<svg class="residuals" viewBox="0 0 {} {}" role="img" aria-label="{}" fill="currentColor" font-size="11">'
        '<line x1="{}" x2="{}" y1="{}" y2="{}" stroke="currentColor" stroke-opacity=".4"/>{}{}</svg>'
    ).format(WIDTH, HEIGHT, label, LEFT, WIDTH - 8, middle, middle, drawn, written)
