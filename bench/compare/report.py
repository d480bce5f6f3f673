# SPDX-License-Identifier: Apache-2.0
"""The figures of a run as a page of tables, with plots beside it."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any, Optional

Figures = dict[str, Any]
Cell = Callable[[Figures], str]

OURS = ("vkb", "vkb-program")


def get(tree: Any, *path: Any) -> Any:
    """What lies at the path, or None."""
    for key in path:
        if isinstance(tree, list):
            tree = tree[key] if -len(tree) <= key < len(tree) else None
        else:
            tree = tree.get(key) if tree else None
    return tree


def number(value: Optional[float], scale: float = 1.0) -> str:
    """Three significant figures, thousands separated."""
    if value is None:
        return "–"
    value *= scale
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def latency(result: Figures, target: str) -> str:
    """The interpolated p50, or how much was found at most."""
    p50 = get(result, "at", target, "p50_us")
    sweep = get(result, "search", "sweep") or []
    if p50 is None and sweep:
        return f"not reached ({max(point['recall'] for point in sweep):.3f})"
    return number(p50)


def filtered_p50(result: Figures, name: str) -> Optional[float]:
    """The best p50 with a filter at recall 0.95."""
    points = get(result, "search", "filters", name) or []
    enough = [point["p50_us"] for point in points if point["recall"] >= 0.95]
    return min(enough, default=None)


def filtered(result: Figures, name: str) -> str:
    """p50, or the recall where it never comes to 0.95."""
    points = get(result, "search", "filters", name)
    if points and filtered_p50(result, name) is None:
        best = max(points, key=lambda point: point["recall"])
        return f"{number(best['p50_us'])} (finds {best['recall']:.3f})"
    return number(filtered_p50(result, name))


def containing(result: Figures) -> str:
    found = get(result, "search", "contains")
    return number(found.get("p50_us", found.get("mean_us"))) if found else "–"


def dropped(result: Figures, name: str) -> str:
    """Marked where the kernel kept pages."""
    text = number(get(result, "dropped", name))
    kept = get(result, "dropped", "cached_part") or 0.0
    return f"{text} ({kept:.0%} was still cached)" if kept > 0.02 else text


def at_a_time(result: Figures) -> str:
    """A batch's rate, and how many times that of single calls on the same core it is."""
    batch = get(result, "load", "batch")
    if not batch:
        return "–"
    return f"{number(batch['qps'])} ({batch['qps'] / batch['single_qps']:.2f}x)"


def two_threads(result: Figures) -> str:
    one, two = get(result, "load", "qps", "1"), get(result, "load", "qps", "2")
    return f"{number(two)} ({two / one:.2f}x)" if one and two else "–"


def field(*path: Any, scale: float = 1.0) -> Cell:
    return lambda result: number(get(result, *path), scale)


def table(peers: dict[str, Figures], columns: dict[str, Cell]) -> list[str]:
    lines = [f"| peer | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, result in peers.items():
        cells = [cell(result) for cell in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


SEARCH: dict[str, Cell] = {
    "p50 at 0.95, µs": lambda result: latency(result, "0.95"),
    "p50 at 0.99, µs": lambda result: latency(result, "0.99"),
    "p95 / p99 at ≥ 0.95, µs": lambda result: " / ".join(
        number(get(result, "at", "0.95", "first", name)) for name in ("p95_us", "p99_us")
    ),
    "CPU a query, µs": field("at", "0.95", "first", "cpu_us"),
    "queries/s, 1 thread": field("load", "qps", "1"),
    "2 threads": two_threads,
    "batch of 64, one core": at_a_time,
}
COLD: dict[str, Cell] = {
    "open, warm": field("warm", "open_ms"),
    "first answer, warm": field("warm", "first_answer_ms"),
    "open, dropped": lambda result: dropped(result, "open_ms"),
    "first answer, dropped": lambda result: dropped(result, "first_answer_ms"),
    "whole process, warm": field("warm", "process_ms"),
    "whole process, dropped": lambda result: dropped(result, "process_ms"),
}
BUILD: dict[str, Cell] = {
    "build, s": field("build", "seconds"),
    "vectors/s": field("build", "vectors_per_second"),
    "vectors a CPU-second": field("build", "vectors_per_cpu_second"),
    "peak, MB": field("build", "peak_resident_mb"),
    "disk, MB": field("build", "disk_mb"),
}


GROWTH = {
    "p50 at recall@10 0.95, µs": ("at", "0.95", "p50_us"),
    "open and first answer, warm, ms": ("warm", "first_answer_ms"),
    "open and first answer, dropped, ms": ("dropped", "first_answer_ms"),
    "resident after 1,000 queries, MB": ("load", "memory", "resident_mb"),
    "build, s": ("build", "seconds"),
}


def memory_columns(limit: int) -> dict[str, Cell]:
    def limited(result: Figures) -> str:
        failed = get(result, "failed", "limited")
        return f"failed: {failed}" if failed else number(get(result, "limited", "p50_us"))

    columns = {
        "anonymous": field("load", "memory", "anonymous_mb"),
        "mapped files": field("load", "memory", "file_mb"),
        "all resident": field("load", "memory", "resident_mb"),
        "anonymous before opening": field("load", "memory_before_open", "anonymous_mb"),
    }
    return {**columns, f"p50 in {limit} MB, µs": limited} if limit else columns


def ratios(peers: dict[str, Figures], filters: list[str]) -> list[str]:
    """How many times a peer's figure is ours; for each figure our better entry is taken."""
    own = [peers[name] for name in OURS if name in peers]
    others = {name: each for name, each in peers.items() if name not in OURS}
    values: dict[str, Callable[[Figures], Optional[float]]] = {
        "p50 at 0.95": lambda result: get(result, "at", "0.95", "p50_us"),
        "p50 at 0.99": lambda result: get(result, "at", "0.99", "p50_us"),
        **{name: functools.partial(filtered_p50, name=name) for name in filters},
        "first answer, warm": lambda result: get(result, "warm", "first_answer_ms"),
        "first answer, dropped": lambda result: get(result, "dropped", "first_answer_ms"),
        "resident": lambda result: get(result, "load", "memory", "resident_mb"),
        "build time": lambda result: get(result, "build", "seconds"),
    }
    if not own or not others:
        return []

    def column(value: Callable[[Figures], Optional[float]]) -> Cell:
        best = min((found for found in map(value, own) if found), default=None)

        def cell(result: Figures) -> str:
            theirs = value(result)
            return f"{number(theirs / best)}x" if theirs and best else "–"

        return cell

    columns = {title: column(value) for title, value in values.items()}
    return ["## Times vkb's figure", "", "Above 1 vkb is ahead.", "", *table(others, columns)]


def heading(figures: Figures) -> list[str]:
    settings, machine = figures["settings"], figures["machine"]
    count = settings["repetitions"]
    rounds = f"medians of {count} rounds" if count > 1 else "one round"
    loud = [each for each in figures["quiet"] if not each["quiet"]]
    lines = [
        f"# vkb and its peers, {settings['rows']:,} rows of {settings['dim']}",
        "",
        "What each figure is: [README.md](README.md). "
        f"All of them: [compare_{settings['rows']}.json](compare_{settings['rows']}.json).",
        "",
        f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, Linux "
        f"{machine['kernel']}, {machine['file_system']}; {', '.join(machine['flags'])}",
        f"- {machine['date']}; {settings['queries']} queries, k {settings['k']}, "
        f"M {settings['m']}, ef_construction {settings['ef_construction']}, "
        f"built on {settings['threads']} threads; {rounds}, peers in the order below",
        f"- `{figures['command']}`",
    ]
    if settings["quick"]:
        lines.append("- **With `--quick`: shows that it runs; not to be quoted.**")
    if loud:
        worst = max(loud, key=lambda each: each["others_percent"])
        lines.append(
            f"- **The machine was not quiet** in {len(loud)} of {len(figures['quiet'])} looks: "
            f"others took up to {worst['others_percent']:g} % of a core. Not to be quoted."
        )
    return [*lines, ""]


def page(figures: Figures, plotted: bool) -> str:
    peers, settings = figures["peers"], figures["settings"]
    rows = settings["rows"]
    lines = heading(figures)
    lines += ["| peer | version | set up as |", "|---|---|---|"]
    lines += [f"| {name} | {each['version']} | {each['about']} |" for name, each in peers.items()]
    lines += ["", "## Search", ""]
    if plotted:
        lines += [f"![Recall and latency](compare_{rows}.svg)", ""]
    lines += table(peers, SEARCH)
    shares = [f"{each['name']} {each['share']:.1%}" for each in settings["filters"]]
    lines += ["## Filters", "", f"p50 in µs at recall 0.95; {', '.join(shares)} of the rows.", ""]
    names = [each["name"] for each in settings["filters"]]
    columns: dict[str, Cell] = {name: functools.partial(filtered, name=name) for name in names}
    for name in names:
        columns[f"{name} the first time, ms"] = field("search", "filters", name, 0, "first_ms")
    if settings["texts"]:
        columns["$contains"] = containing
    lines += table(peers, columns)
    lines += ["## Cold start", ""]
    if plotted:
        lines += [f"![Cold start](compare_{rows}_cold.svg)", ""]
    lines += ["Milliseconds in a fresh process.", "", *table(peers, COLD)]
    lines += ["## Memory", "", "MB after 1,000 queries.", ""]
    lines += table(peers, memory_columns(settings["memory_limit_mb"]))
    lines += ["## Build", "", *table(peers, BUILD), *ratios(peers, names)]
    failed = [
        f"- {name}, {task}: {reason}"
        for name, each in peers.items()
        for task, reason in each["failed"].items()
    ]
    skipped = [f"- {name}: {reason}" for name, reason in figures["skipped"].items()]
    if failed:
        lines += ["## What failed", "", *failed, ""]
    if skipped:
        lines += ["## Skipped", "", *skipped, ""]
    return "\n".join(lines)


def write(path: pathlib.Path) -> None:
    """The page and the plots beside a run's JSON."""
    figures = json.loads(path.read_text(encoding="utf-8"))
    plotted = True
    try:
        import plots

        plots.write_recall(figures, path.with_suffix(".svg"))
        plots.write_cold(figures, path.with_name(f"{path.stem}_cold.svg"))
    except ModuleNotFoundError as error:
        print(f"compare: no plots: {error}")
        plotted = False
    path.with_suffix(".md").write_text(page(figures, plotted), encoding="utf-8")
    print(path.with_suffix(".md"))


def of_run(run: Figures, path: tuple[Any, ...]) -> Cell:
    return lambda result: number(get(run, "peers", result["name"], *path))


def write_growth(paths: list[pathlib.Path], out: pathlib.Path) -> None:
    """growth.svg and growth.md from several runs' JSON."""
    import plots

    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    out.mkdir(parents=True, exist_ok=True)
    runs.sort(key=lambda run: run["settings"]["rows"])
    plots.write_growth(runs, out / "growth.svg")
    lines = ["# Growth", "", "![Growth](growth.svg)", ""]
    names = list(dict.fromkeys(name for run in runs for name in run["peers"]))
    for title, path in GROWTH.items():
        columns = {f"{run['settings']['rows']:,} rows": of_run(run, path) for run in runs}
        lines += [f"## {title}", "", *table({name: {"name": name} for name in names}, columns)]
    (out / "growth.md").write_text("\n".join(lines), encoding="utf-8")
    print(out / "growth.md")
