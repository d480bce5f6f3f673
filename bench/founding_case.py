#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The founding case at full size: 545,177 records from a Redis into a store, timed and checked.

usage: founding_case.py --vkb BINARY --data DIR --redis URL --out DIR [--kills 10] [--figures FILE]

DIR holds base_<rows>.npy (float32, unit length), meta_<rows>.jsonl ({"id","text","metadata"} a line),
queries_dev_f16.npy, gt_dev_545k.npy (exact nearest rows), filters.json and gt_dev_545k_<name>.npy. The Redis is
filled already with these rows in LlamaIndex's layout under doc:<id>. Prints a line for each check and
each figure, writes all figures as JSON, and fails when a check does.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np


class Run:
    """Calls of the program on one store, with what they print and cost."""

    def __init__(self, binary: pathlib.Path, redis: str, prefix: str) -> None:
        self.binary = str(binary)
        self.redis = redis
        self.prefix = prefix
        self.failed = 0
        self.figures: dict[str, object] = {}

    def json(self, *arguments: object, codes: tuple[int, ...] = (0,)) -> dict:
        done = subprocess.run(
            [self.binary, *map(str, arguments), "--json"], stdout=subprocess.PIPE, check=False
        )
        if done.returncode not in codes:
            sys.exit(f"vkb {arguments[0]} ended with exit code {done.returncode}")
        return json.loads(done.stdout)

    def import_command(self, store: pathlib.Path) -> list[object]:
        command: list[object] = ["import-redis", self.redis, "--prefix", self.prefix]
        return [*command, "--path", store, "--collection", "autobot_knowledge_base"]

    def check(self, what: str, holds: bool, figure: object) -> None:
        print(f"{'ok  ' if holds else 'FAIL'} {what}: {figure}", flush=True)
        self.failed += not holds
        self.figures[what] = figure


def unit(path: pathlib.Path) -> np.ndarray:
    rows = np.load(path).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def disk(folder: pathlib.Path) -> int:
    """Bytes of the store itself, its reports aside."""
    files = [*folder.glob("vkb.sqlite3*"), *folder.glob("segments/*")]
    return sum(f.stat().st_blocks * 512 for f in files)


def kill_at_random(run: Run, store: pathlib.Path, kills: int, seconds: float) -> None:
    """Starts the import again and again, each time killing it somewhere in a whole run's time."""
    chance = random.Random(7)
    for number in range(kills):
        command = [run.binary, *map(str, run.import_command(store)), "--quiet"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait = chance.uniform(0.02, 0.95) * seconds / (1 if number % 3 == 2 else 5)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        count = run.json("count", "--path", store, codes=(0, 1)).get("count", 0)
        print(f"     killed after {wait:.0f} s: {count:,} records are there", flush=True)


def imported(run: Run, store: pathlib.Path, rows: int, label: str) -> dict:
    began = time.monotonic()
    result = run.json(*run.import_command(store))
    wall = time.monotonic() - began
    report = json.loads((pathlib.Path(result["report"]) / "report.json").read_text())
    proof = result["verification"]
    run.check(f"{label}: verified", proof["passed"], proof)
    whole = result["imported"] + result["unchanged"] == rows == report["verification"]["records_proved"]
    run.check(f"{label}: every record proved equal byte for byte", whole, rows)
    run.figures[f"{label}: breakdown"] = report["breakdown_seconds"]
    run.figures[f"{label}: seconds"] = round(wall, 1)
    print(f"     {wall:.1f} s, {report['breakdown_seconds']}", flush=True)
    return {**result, "wall": wall, "peak": report["peak_resident_bytes"]}


def answers(run: Run, store: pathlib.Path, data: pathlib.Path, rows: int) -> None:
    """Recall at the default ef, distances and documents, unfiltered and filtered."""
    with open(data / f"meta_{rows}.jsonl", encoding="utf-8") as lines:
        meta = [json.loads(line) for line in lines]
    base = np.load(data / f"base_{rows}.npy", mmap_mode="r")
    row_of = {record["id"]: row for row, record in enumerate(meta)}
    queries = unit(data / "queries_dev_f16.npy")
    np.save(store.parent / "queries.npy", queries)
    filters = {f["name"]: f["where"] for f in json.loads((data / "filters.json").read_text())}
    for name, where in {"all": None, **filters}.items():
        truth = np.load(data / f"gt_dev_545k{'' if where is None else '_' + name}.npy")[:, :10]
        extra = [] if where is None else ["--where", json.dumps(where)]
        result = run.json("query", "--path", store, "--vector-file", store.parent / "queries.npy",
                          "--include", "documents,distances", *extra)  # fmt: skip
        found = [[row_of[i] for i in ids] for ids in result["ids"]]
        recall = np.mean([len(set(f) & set(t)) / 10 for f, t in zip(found, truth.tolist())])
        run.check(f"recall@10, {name}", recall >= 0.95, round(float(recall), 4))
        worst = max(
            float(np.abs(1 - base[f].astype(np.float64) @ q - d).max())
            for f, q, d in zip(found, queries.astype(np.float64), result["distances"])
        )
        run.check(f"distances, {name}: farthest from exact", worst <= 1e-5, worst)
        texts = all(
            meta[row]["text"] == text
            for rows_found, documents in zip(found, result["documents"])
            for row, text in zip(rows_found, documents)
        )
        run.check(f"documents, {name}", texts, "all equal" if texts else "differ")
    for name, where in {"all": None, **filters}.items():
        extra = [] if where is None else ["--where", json.dumps(where)]
        speed = run.json("bench", "query", "--path", store, "--queries",
                         store.parent / "queries.npy", *extra)["results"][0]  # fmt: skip
        run.figures[f"query, {name}"] = speed
        print(f"     query, {name}: {speed}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vkb", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--prefix", default="doc:")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=int, default=545177)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--figures", type=pathlib.Path)
    options = parser.parse_args()

    run = Run(options.vkb.resolve(), options.redis, options.prefix)
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    store = options.out.resolve() / "store"
    result = imported(run, store, options.rows, "import")
    rate = options.rows / result["wall"]
    run.check("import: vectors a second, all included", rate >= 4 * 425, round(rate))
    run.check("import: peak resident MB", result["peak"] <= 3e9, round(result["peak"] / 1e6))
    run.check("store: MB on disk", disk(store) <= 3.6e9, round(disk(store) / 1e6))
    run.figures["info"] = run.json("info", "--path", store)
    opening = run.json("bench", "open", "--path", store)
    run.check("open: ms to the first answer in a fresh process, cache dropped",
              opening["cold"]["first_answer_ms"]["p50"] < 1000, opening)  # fmt: skip
    answers(run, store, options.data, options.rows)
    again = run.json(*run.import_command(store), "--no-verify")
    run.check("import repeated: changes nothing",
              again["imported"] == 0 and again["unchanged"] == options.rows, again["seconds"])  # fmt: skip
    if options.kills:
        broken = options.out.resolve() / "killed"
        kill_at_random(run, broken, options.kills, result["wall"])
        imported(run, broken, options.rows, "import killed and resumed")
        found = run.json("check", "--deep", "--path", broken, codes=(0, 1))
        run.check("check --deep after kills", not found["problems"], found)
        same = run.json("info", "--path", broken)["rows"] == run.figures["info"]["rows"]
        run.check("rows after kills", same, options.rows)
    if options.figures:
        options.figures.write_text(json.dumps(run.figures, indent=1) + "\n")
    print(f"{run.failed} checks failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    os.environ["PYTHONUNBUFFERED"] = "1"
    sys.exit(main())
