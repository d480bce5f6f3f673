# SPDX-License-Identifier: Apache-2.0
"""A whole run: prepares the data, has every peer built, measures them in turn, and writes the
figures as JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Optional

import dataset
import environment
import measure
import numpy as np
import peers

EFS = [10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
QUICK_EFS = [16, 32, 64, 128, 256, 512]
STOP_RECALL = 0.995
HELD_OUT = 1000
LIMITED_SECONDS = 300  # for 1,000 queries in little memory
# Without metadata: a number in every record, below 10, 100 and 500 in 1, 10 and 50 % of them.
BUCKETS = {"f01": 10, "f10": 100, "f50": 500}


def say(text: str) -> None:
    print(f"compare: {text}", file=sys.stderr, flush=True)


class Comparison:
    """One run with the options of the command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.chosen = options.peers or list(peers.PEERS)
        unknown = set(self.chosen) - set(peers.PEERS)
        if unknown:
            known = ", ".join(peers.PEERS)
            sys.exit(f"compare: no peer is called {min(unknown)}; there are {known}")
        self.quick = options.quick
        self.look = 0.5 if options.quick else 2.0  # seconds
        self.repetitions = 1 if self.quick else options.repetitions
        self.temporary = None if options.keep else tempfile.mkdtemp(prefix="vkb-compare-")
        self.keep = pathlib.Path(self.temporary or options.keep).resolve()
        self.variables = {**os.environ, "VKB_BINARY": str(options.vkb.resolve())}
        self.results: dict[str, dict[str, Any]] = {}
        self.skipped: dict[str, str] = {}

    def run(self) -> pathlib.Path:
        """Measures, and returns the JSON's path."""
        quiet = [self.check_quiet()]
        self.keep.mkdir(parents=True, exist_ok=True)
        links = environment.link_vkb(
            environment.vkb_package(self.options.vkb_package), self.keep / "python"
        )
        self.variables.update(links)
        try:
            data = self.prepare()
            self.find_peers(data)
            for name in list(self.results):
                self.build(name, data)
            for repetition in range(self.repetitions):
                quiet.append(environment.busy(self.look))
                for name in list(self.results):
                    say(f"repetition {repetition + 1} of {self.repetitions}: {name}")
                    self.measure(name, data, repetition)
            return self.write(data, quiet)
        finally:
            if self.temporary:
                shutil.rmtree(self.temporary, ignore_errors=True)

    def check_quiet(self) -> dict[str, Any]:
        found = environment.busy(self.look)
        if not found["quiet"]:
            text = (
                f"the machine is busy: other processes take {found['others_percent']:.0f} % of a "
                f"core, the host {found['steal_percent']:.0f} %; load {found['load']:.1f}; "
                + ", ".join(found["top"])
            )
            if not self.options.force:
                sys.exit(f"compare: {text}. Wait until it is quiet, or say --force.")
            say(text)
        return found

    # The data.

    def prepare(self) -> dataset.Dataset:
        """Queries, fields, filters and exact answers in a folder that an equal run finds again."""
        options = self.options
        vectors = np.load(options.vectors, mmap_mode="r")
        spare = 0 if options.queries else HELD_OUT
        rows = min(options.rows or len(vectors), len(vectors) - spare)
        if rows < 100:
            sys.exit(f"compare: {options.vectors} has {len(vectors)} vectors: too few")
        queries = np.load(options.queries) if options.queries else vectors[-HELD_OUT:]
        queries = dataset.unit(queries[: 200 if self.quick else 1000])
        filters = self.filters()
        name = dataset.fingerprint(
            options.vectors, rows, options.m, options.ef_construction, filters, options.texts
        )
        folder = self.keep / f"{rows}x{vectors.shape[1]}_{name}"
        folder.mkdir(exist_ok=True)
        data = dataset.Dataset(
            folder=folder,
            vectors_file=str(pathlib.Path(options.vectors).resolve()),
            rows=rows,
            m=options.m,
            ef_construction=options.ef_construction,
            texts_file=str(pathlib.Path(options.metadata).resolve()) if options.texts else None,
        )
        if data.texts_file:
            data.word = dataset.rare_word(pathlib.Path(data.texts_file), rows)
        self.write_fields(data, filters)
        self.write_truth(data, queries)
        data.save()
        return data

    def filters(self) -> list[dict[str, Any]]:
        if self.options.filters:
            given = json.loads(pathlib.Path(self.options.filters).read_text())
            return [{"name": each["name"], "where": each["where"]} for each in given]
        return [{"name": n, "where": {"bucket": {"$lt": b}}} for n, b in BUCKETS.items()]

    def write_fields(self, data: dataset.Dataset, filters: list[dict[str, Any]]) -> None:
        names = set().union(*(dataset.fields_of(each["where"]) for each in filters))
        if self.options.metadata and self.options.filters:
            fields = dataset.read_metadata(pathlib.Path(self.options.metadata), data.rows, names)
        else:
            fields = {"bucket": [row * 7919 % 1000 for row in range(data.rows)]}
        (data.folder / "fields.json").write_text(json.dumps(fields))
        records = data.metadata(0, data.rows)
        for each in filters:
            mask = np.array([dataset.matches(each["where"], record) for record in records])
            np.save(data.folder / f"mask_{each['name']}.npy", mask)
            each["share"] = float(mask.mean())
        (data.folder / "filters.json").write_text(json.dumps(filters))

    def write_truth(self, data: dataset.Dataset, queries: np.ndarray) -> None:
        """Unless it is there for these queries."""
        path = data.folder / "queries.npy"
        truths = [data.folder / "truth.npy"]
        truths += [data.folder / f"truth_{each['name']}.npy" for each in data.filters]
        if data.word:
            truths.append(data.folder / "truth_contains.npy")
        given = self.options.truth
        same = path.exists() and np.array_equal(np.load(path), queries)
        np.save(path, queries)
        np.save(data.folder / "query.npy", queries[:1])
        if not (same and all(each.exists() for each in truths)):
            say(f"computing exact answers to {len(queries)} queries")
            masks: dict[str, Optional[np.ndarray]] = {"truth": None}
            for each in data.filters:
                masks[f"truth_{each['name']}"] = np.load(data.folder / f"mask_{each['name']}.npy")
            if data.word:
                masks["truth_contains"] = self.texts_with(data, data.word)
            counts = {name: dataset.K for name in masks}
            counts["truth"] = dataset.TRUTH_ROWS
            for name, found in dataset.exact_answers(data, masks, counts).items():
                np.save(data.folder / f"{name}.npy", found)
        if given:
            truth = np.load(given)[: len(queries)]
            if len(truth) < len(queries) or truth.shape[1] < dataset.K or truth.max() >= data.rows:
                sys.exit(f"compare: {given} does not fit these rows and queries")
            np.save(truths[0], truth.astype(np.int32))

    def texts_with(self, data: dataset.Dataset, word: str) -> np.ndarray:
        texts = data.texts(0, data.rows) or []
        return np.array([word in text for text in texts])

    # The peers.

    def task(self, peer: str, task: str, data: dataset.Dataset, **values: Any) -> dict[str, Any]:
        """Runs one task in a fresh process."""
        limit = values.pop("limit_mb", 0)
        store = peers.find(peer).store
        with tempfile.TemporaryDirectory(prefix="vkb-compare-job-") as scratch:
            job, result = pathlib.Path(scratch, "job.json"), pathlib.Path(scratch, "result.json")
            settings = {
                "peer": peer,
                "task": task,
                "data": str(data.folder),
                "folder": str(data.folder / store),
                "threads": self.options.threads,
                "queries": len(np.load(data.folder / "queries.npy", mmap_mode="r")),
                "budget": 2.0 if self.quick else 15.0,
                "seconds": 0.3 if self.quick else 3.0,
                "stop": STOP_RECALL,
                "efs": self.options.efs or (QUICK_EFS if self.quick else EFS),
                "limited": bool(limit),
                "started": time.monotonic(),
                **values,
            }
            job.write_text(json.dumps(settings))
            script = pathlib.Path(__file__).with_name("worker.py")
            command = [sys.executable, str(script), str(job), str(result)]
            with open(data.folder / f"{peer}.log", "a", encoding="utf-8") as log:
                place = measure.memory_limit(limit) if limit else contextlib.nullcontext()
                with place as enter:
                    try:
                        done = subprocess.run(
                            command,
                            stdout=log,
                            stderr=log,
                            cwd=scratch,
                            env=self.variables,
                            preexec_fn=enter,
                            check=False,
                            timeout=LIMITED_SECONDS if limit else None,
                        )
                    except subprocess.TimeoutExpired:
                        return {"error": f"not done after {LIMITED_SECONDS} s"}
            if result.exists():
                return json.loads(result.read_text())
            return {"error": f"the process ended with {done.returncode}"}

    def find_peers(self, data: dataset.Dataset) -> None:
        """Which are there, with their versions."""
        missing = environment.not_installed()
        for name in self.chosen:
            found = self.task(name, "version", data)
            if "error" in found:
                package = getattr(peers.find(name), "package", "")
                self.skip(name, missing.get(package, found["error"]))
            else:
                self.results[name] = {**found, "failed": {}, "runs": []}

    def skip(self, name: str, reason: str) -> None:
        say(f"{name} is skipped: {reason}")
        self.skipped[name] = reason
        self.results.pop(name, None)

    def build(self, name: str, data: dataset.Dataset) -> None:
        """Unless an equal run has left the index."""
        peer = peers.find(name)
        builder = next(each for each in peers.PEERS.values() if each.store == peer.store)
        folder, note = data.folder / peer.store, data.folder / f"{peer.store}.json"
        if note.exists():
            found = json.loads(note.read_text())
            if self.results.get(builder.name, found).get("identity") == found["identity"]:
                self.results[name]["build"] = {**found, "reused": True}
                return
        say(f"building {peer.store}, {data.rows:,} rows")
        note.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        result = self.task(builder.name, "build", data)
        os.sync()  # writing it out must not go on beside what is measured next
        if "error" in result:
            self.skip(name, f"building failed: {result['error']}")
            return
        note.write_text(json.dumps(result))
        self.results[name]["build"] = {**result, "reused": False}

    def measure(self, name: str, data: dataset.Dataset, repetition: int) -> None:
        """All tasks once, the cold ones last."""
        result = self.results[name]
        run: dict[str, Any] = {}
        result["runs"].append(run)
        folder = data.folder / peers.find(name).store

        def task(label: str, verb: str, **values: Any) -> None:
            try:
                found = self.task(name, verb, data, **values)
            except OSError as error:  # no permission to make a cgroup
                found = {"error": str(error)}
            if "error" in found:
                say(f"{name}, {label}: {found['error']}")
                result["failed"][label] = found["error"]
            else:
                run[label] = found

        measure.read_all(folder)  # earlier rounds dropped them
        task("search", "search")
        sweep = run.get("search", {}).get("sweep", [])
        enough = measure.first_at(sweep, 0.95) or (sweep[-1] if sweep else {"ef": 128})
        task("load", "load", ef=enough["ef"])
        measure.read_all(folder)
        task("warm_up", "first", ef=enough["ef"])
        run.pop("warm_up", None)
        task("warm", "first", ef=enough["ef"])
        part = measure.drop_cached(folder)
        task("dropped", "first", ef=enough["ef"])
        if "dropped" in run:
            run["dropped"]["cached_part"] = part
        limit = self.options.memory_limit
        if limit and repetition == 0:
            measure.drop_cached(folder)
            task("limited", "load", ef=enough["ef"], limit_mb=limit)

    # The figures.

    def write(self, data: dataset.Dataset, quiet: list[dict[str, Any]]) -> pathlib.Path:
        for result in self.results.values():
            runs = result.pop("runs")
            for label in ("search", "load", "warm", "dropped", "limited"):
                found = [run[label] for run in runs if label in run]
                if found:
                    result[label] = middle(found)
            summarise(result)
        figures = {
            "format": 1,
            "machine": environment.machine(self.keep),
            "quiet": quiet,
            "command": command_line(),
            "settings": {
                "rows": data.rows,
                "dim": data.dim,
                "k": dataset.K,
                "queries": len(data.queries),
                "m": data.m,
                "ef_construction": data.ef_construction,
                "threads": self.options.threads,
                "repetitions": self.repetitions,
                "order": list(self.results),
                "memory_limit_mb": self.options.memory_limit,
                "quick": self.quick,
                "filters": data.filters,
                "texts": self.options.texts,
            },
            "skipped": self.skipped,
            "peers": self.results,
        }
        self.options.out.mkdir(parents=True, exist_ok=True)
        path = self.options.out / f"compare_{data.rows}.json"
        path.write_text(json.dumps(rounded(figures), indent=1) + "\n")
        return path


def command_line() -> str:
    """As it was given, but of paths only the last part: where files lie says nothing to others."""
    given = [pathlib.Path(each).name if "/" in each else each for each in sys.argv[1:]]
    return shlex.join(["bench/compare", *given])


def middle(found: list[Any]) -> Any:
    """The median of each number in equal trees; of lists of points, by their place, as far as all
    have them; of anything else the first."""
    first = found[0]
    if isinstance(first, dict):
        return {key: middle([each[key] for each in found if each and key in each]) for key in first}
    if isinstance(first, list):
        return [middle(list(points)) for points in zip(*found)]
    if isinstance(first, (int, float)) and not isinstance(first, bool):
        there = [each for each in found if each is not None]
        return first if len(set(there)) == 1 else statistics.median(there)
    return first


def summarise(result: dict[str, Any]) -> None:
    """The latencies at the recalls that are compared."""
    sweep = result.get("search", {}).get("sweep", [])
    result["at"] = {
        str(target): {
            "p50_us": measure.interpolated(sweep, target),
            "first": measure.first_at(sweep, target),
        }
        for target in (0.95, 0.99)
    }


def rounded(value: Any) -> Any:
    """Floats with four significant digits, but recall and what lies above 1000 as it reads best."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, float):
        return round(value, 1) if abs(value) >= 1000 else float(f"{value:.4g}")
    return value
