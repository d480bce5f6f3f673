#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vkb and its peers side by side, on the same vectors: recall, latency, cold start, memory, build.

usage: python3 bench/compare --vectors X.npy [--queries Q.npy] [--rows N] [--keep DIR]

Installs the peers into build/compare/venv, builds an index with each, measures them in turn, and
writes compare_<rows>.json, .md and .svg into docs/benchmarks. See docs/benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys

import environment


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def names(text: str) -> list[str]:
    return text.split(",")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/compare", description=__doc__.splitlines()[0])
    data = parser.add_argument_group("data")
    data.add_argument("--vectors", help="float32 or float16 [rows, dim]; compared by cosine")
    data.add_argument("--queries", help="[queries, dim]; without it the last 1,000 vectors are "
                      "held out")  # fmt: skip
    data.add_argument("--truth", help="int [queries, >= 10]: the exact nearest rows; computed "
                      "unless given")  # fmt: skip
    data.add_argument("--rows", type=int, help="only the first so many vectors")
    data.add_argument("--metadata", help='JSON lines with {"metadata": {...}, "text": "..."}; '
                      "without it a made-up field is filtered by")  # fmt: skip
    data.add_argument("--filters", help='JSON: [{"name", "where"}], Chroma\'s syntax; with '
                      "--metadata")  # fmt: skip
    data.add_argument("--texts", action="store_true", help="store the texts of --metadata where "
                      "the engine has documents, and search them")  # fmt: skip
    what = parser.add_argument_group("what is measured")
    what.add_argument("--peers", type=names, help="some of them, in this order")
    what.add_argument("--m", type=int, default=16)
    what.add_argument("--ef-construction", type=int, default=200)
    what.add_argument("--efs", type=numbers, help="beam widths of the sweep, rising")
    what.add_argument("--threads", type=int, default=2, help="that build [2]")
    what.add_argument("--repetitions", type=int, default=3, help="of everything but building [3]")
    what.add_argument("--memory-limit", type=int, default=256, metavar="MB",
                      help="also measured in a cgroup of so much; 0: not [256]")  # fmt: skip
    what.add_argument("--quick", action="store_true", help="fewer queries, one repetition: to see "
                      "that it runs, not to quote")  # fmt: skip
    what.add_argument("--force", action="store_true", help="measure on a busy machine, and say so")
    where = parser.add_argument_group("places")
    where.add_argument("--keep", type=pathlib.Path, help="where indexes and exact answers stay, "
                       "for the next run")  # fmt: skip
    where.add_argument("--out", type=pathlib.Path, default=environment.ROOT / "docs/benchmarks")
    where.add_argument("--vkb", type=pathlib.Path,
                       default=environment.ROOT / "build/release/tools/vkb",
                       help="the program [build/release/tools/vkb]")  # fmt: skip
    where.add_argument("--vkb-package", help="the folder that holds the Python package vkb "
                       "[build/venv/lib/python3*/site-packages]")  # fmt: skip
    where.add_argument("--no-install", action="store_true", help="use this Python and what it has")
    again = parser.add_argument_group("instead of measuring")
    again.add_argument("--report", type=pathlib.Path, metavar="JSON", help="table and plots of a "
                       "run once more")  # fmt: skip
    again.add_argument("--growth", type=pathlib.Path, nargs="+", metavar="JSON",
                       help="growth.svg from runs with different rows")  # fmt: skip
    chosen = parser.parse_args()
    if not (chosen.vectors or chosen.report or chosen.growth):
        parser.error("--vectors is needed (or --report, --growth)")
    if bool(chosen.filters) > bool(chosen.metadata) or chosen.texts > bool(chosen.metadata):
        parser.error("--filters and --texts need --metadata")
    return chosen


def main() -> int:
    chosen = options()
    if not chosen.no_install:
        python = environment.make_venv(environment.ROOT / "build/compare/venv")
        os.execv(python, [str(python), *sys.argv, "--no-install"])
    try:
        import comparison  # needs numpy
        import report
    except ModuleNotFoundError as error:
        print(f"compare: {error}: leave out --no-install, or install it", file=sys.stderr)
        return 1

    try:
        if chosen.growth:
            report.write_growth(chosen.growth, chosen.out)
        else:
            report.write(chosen.report or comparison.Comparison(chosen).run())
    except (OSError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
