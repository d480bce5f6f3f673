# SPDX-License-Identifier: Apache-2.0
"""The figures of runs as SVG plots."""

from __future__ import annotations

import pathlib
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from peers import PEERS  # noqa: E402
from report import GROWTH, OURS, Figures, get  # noqa: E402

matplotlib.rcParams.update(
    {
        "svg.hashsalt": "vkb",  # equal figures give equal files
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e5e7eb",
    }
)
BLUE, LIGHT_BLUE = "#2563eb", "#93c5fd"
COLORS = ["#111827", "#9ca3af", "#b45309", "#fb923c", "#059669", "#84cc16", "#7c3aed", "#db2777",
          "#0891b2", "#dc2626"]  # fmt: skip


def styles() -> dict[str, dict[str, Any]]:
    """Ours thick and blue, each other in a colour of its own, the same in every plot."""
    others = iter(COLORS)
    found = {}
    for name in PEERS:
        if name in OURS:
            dash = "-" if name == "vkb" else "--"
            found[name] = {"color": BLUE, "linewidth": 2.6, "linestyle": dash, "zorder": 3}
        else:
            found[name] = {"color": next(others), "linewidth": 1.3}
    return found


def title_of(figures: Figures) -> str:
    settings, machine = figures["settings"], figures["machine"]
    return f"{settings['rows']:,} rows of {settings['dim']}, one thread, {machine['cpu']}"


def save(figure: Any, path: pathlib.Path) -> None:
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def write_recall(figures: Figures, path: pathlib.Path) -> None:
    """Recall against the p50 of a query, a line a peer."""
    figure, axes = plt.subplots(figsize=(8.5, 5.2))
    style = styles()
    for name, result in figures["peers"].items():
        sweep = get(result, "search", "sweep")
        if sweep:
            recalls = [point["recall"] for point in sweep]
            times = [point["p50_us"] / 1000 for point in sweep]
            axes.plot(recalls, times, label=name, marker="o", markersize=3, **style[name])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(0.8, 1.001)
    axes.set_xlabel("recall@10")
    axes.set_ylabel("p50 of a query, ms (log scale; lower is better)")
    axes.set_title(title_of(figures), loc="left", fontsize=11)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path)


def write_cold(figures: Figures, path: pathlib.Path) -> None:
    """Time to the first answer, page cache warm and dropped, bars a peer."""
    rows = [
        (name, get(each, "warm", "first_answer_ms"), get(each, "dropped", "first_answer_ms"))
        for name, each in figures["peers"].items()
    ]
    rows = [row for row in rows if row[1] and row[2]][::-1]
    figure, axes = plt.subplots(figsize=(8.5, 0.55 * len(rows) + 1.3))
    for place, (name, warm, cold) in enumerate(rows):
        strong, soft = (BLUE, LIGHT_BLUE) if name in OURS else ("#6b7280", "#d1d5db")
        for offset, value, color in ((-0.2, cold, strong), (0.2, warm, soft)):
            axes.barh(place + offset, value, height=0.38, color=color)
            axes.text(value * 1.08, place + offset, f"{value:,.3g}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("open and first answer in a fresh process, ms (log scale; lower is better)\n"
                    "light: page cache warm; dark: dropped")  # fmt: skip
    axes.set_title(title_of(figures), loc="left", fontsize=11)
    save(figure, path)


def write_growth(runs: list[Figures], path: pathlib.Path) -> None:
    """Each figure of report.GROWTH against the number of rows; the runs rise in rows."""
    names = list(dict.fromkeys(name for run in runs for name in run["peers"]))
    style = styles()
    figure, grid = plt.subplots(2, 3, figsize=(14, 8.5))
    places = list(grid.flat)
    for axes, (title, where) in zip(places, GROWTH.items()):
        for name in names:
            points = [(run["settings"]["rows"], get(run, "peers", name, *where)) for run in runs]
            points = [point for point in points if point[1]]
            if points:
                axes.plot(*zip(*points), label=name, marker="o", markersize=4, **style[name])
        axes.set_xscale("log")
        axes.set_yscale("log")
        rows = [run["settings"]["rows"] for run in runs]
        axes.set_xticks(rows, [f"{count:,}" for count in rows])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("rows")
        axes.set_title(title, loc="left", fontsize=10)
    places[-1].axis("off")
    lines = {
        label: line for axes in places for line, label in zip(*axes.get_legend_handles_labels())
    }
    places[-1].legend(lines.values(), lines.keys(), loc="center left", frameon=False)
    figure.suptitle(runs[0]["machine"]["cpu"], x=0.06, ha="left", fontsize=11)
    figure.tight_layout()
    save(figure, path)
