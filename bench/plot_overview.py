# SPDX-License-Identifier: Apache-2.0
"""Draws measured figures as horizontal bars, one panel each, into an SVG file. Only the standard
library is needed.

usage: plot_overview.py FIGURES.json OVERVIEW.svg

    {"title": "...", "subtitle": "what was measured, on which machine",
     "panels": [{"title": "Memory", "unit": "GB", "scale": "linear" or "log",
                 "better": "lower" or "higher",
                 "bars": [{"label": "Redis Stack", "value": 6.4}, {"label": "vkb", "value": 0.6}]}]}

The last bar of a panel (ours) is coloured, the others are grey. A log scale starts a decade below
the smallest value, and says so.
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
from xml.sax.saxutils import escape

WIDTH = 760
MARGIN = 24
LABEL_WIDTH = 170
VALUE_WIDTH = 110
BAR_HEIGHT = 20
BAR_GAP = 8
OURS, THEIRS, INK, SOFT = "#2563eb", "#9ca3af", "#1f2937", "#6b7280"


def number(value: float) -> str:
    """Three significant figures at most, thousands separated."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def text(
    x: float, y: float, content: str, size: int = 13, color: str = INK, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" font-weight="{weight}">'
        f"{escape(content)}</text>"
    )


def bar_length(value: float, values: list[float], scale: str, full: float) -> float:
    if scale == "log":
        low = math.floor(math.log10(min(values))) - 1
        return full * (math.log10(value) - low) / (math.log10(max(values)) - low)
    return full * value / max(values)


def panel(figures: dict, top: float) -> tuple[list[str], float]:
    """The panel's elements and the y below it."""
    scale = figures.get("scale", "linear")
    note = f"{figures.get('better', 'lower')} is better" + (", log scale" if scale == "log" else "")
    parts = [text(MARGIN, top, figures["title"], 15, INK, "bold")]
    parts.append(text(MARGIN, top + 17, f"{figures['unit']}, {note}", 11, SOFT))
    y = top + 30
    values = [bar["value"] for bar in figures["bars"]]
    full = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH
    for i, bar in enumerate(figures["bars"]):
        color = OURS if i + 1 == len(values) else THEIRS
        length = max(2.0, bar_length(bar["value"], values, scale, full))
        x = MARGIN + LABEL_WIDTH
        parts.append(text(MARGIN, y + 14, bar["label"]))
        parts.append(
            f'<rect x="{x}" y="{y:g}" width="{length:.1f}" height="{BAR_HEIGHT}" rx="3" '
            f'fill="{color}"/>'
        )
        parts.append(
            text(
                x + length + 8, y + 14, f"{number(bar['value'])} {figures['unit']}", 13, INK, "bold"
            )
        )
        y += BAR_HEIGHT + BAR_GAP
    return parts, y + 26


def draw(figures: dict) -> str:
    parts = [
        text(MARGIN, 36, figures["title"], 19, INK, "bold"),
        text(MARGIN, 57, figures["subtitle"], 12, SOFT),
    ]
    y = 92.0
    for one in figures["panels"]:
        elements, y = panel(one, y)
        parts += elements
    height = y - 20
    background = f'<rect width="{WIDTH}" height="{height:g}" rx="8" fill="#ffffff"/>'
    size = f'width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}'
    return "\n".join(
        [
            f'{head} font-family="system-ui, sans-serif" role="img">',
            background,
            *parts,
            "</svg>",
            "",
        ]
    )


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: plot_overview.py FIGURES.json OVERVIEW.svg", file=sys.stderr)
        return 2
    figures = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    pathlib.Path(sys.argv[2]).write_text(draw(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
