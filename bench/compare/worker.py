# SPDX-License-Identifier: Apache-2.0
"""One task with one peer, in a process of its own: worker.py JOB.json RESULT.json."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import sys
import threading
import time
import traceback
from typing import Any, Optional

import measure
import numpy as np
from dataset import Dataset, K, recall
from peers import find
from peers.base import Peer, Unsupported

MEMORY_QUERIES = 1000


def build(peer: Peer, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of wall and CPU, the largest resident memory, and bytes on disk."""
    data = Dataset.load(pathlib.Path(job["data"]))
    begun = time.perf_counter()
    peer.build(data)
    peer.close()
    wall = time.perf_counter() - begun
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "vectors_per_second": data.rows / wall,
        "vectors_per_cpu_second": data.rows / cpu,
        "peak_resident_mb": max(own.ru_maxrss, children.ru_maxrss) / 1024,
        "disk_mb": measure.disk_bytes(peer.folder) / 1e6,
        "remark": peer.remark,
        "identity": peer.identity(),
    }


def first(peer: Peer, job: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds from the beginning of open() to the open index and to the first answer; the
    package is imported already. process_ms counts from the start of this process."""
    query = peer.prepare(np.load(pathlib.Path(job["data"]) / "query.npy")[0])
    peer.ef = job["ef"]
    begun = time.perf_counter()
    peer.open()
    opened = time.perf_counter()
    peer.ask(query, K)
    answered = time.perf_counter()
    return {
        "open_ms": (opened - begun) * 1000,
        "first_answer_ms": (answered - begun) * 1000,
        "process_ms": (time.monotonic() - job["started"]) * 1000,
    }


class Searches:
    """Sweeps of one open peer, with and without filters."""

    def __init__(self, peer: Peer, job: dict[str, Any]) -> None:
        self.peer = peer
        self.job = job
        self.data = Dataset.load(pathlib.Path(job["data"]))
        self.queries = [peer.prepare(query) for query in self.data.queries[: job["queries"]]]
        self.warm_up = len(self.queries)

    def point(self, ef: int, ask: Any, truth: np.ndarray) -> dict[str, Any]:
        """Latency and recall with one ef, after ten queries to warm up (all of them the first
        time, for a third of the budget at most: so many pages are mapped by then)."""
        if self.peer.ef != ef:
            self.peer.set_ef(ef)
            measure.ask_each(ask, self.queries[: self.warm_up], self.job["budget"] / 3)
            self.warm_up = 10
        answers, seconds, cpu = measure.ask_each(ask, self.queries, self.job["budget"])
        rows = [self.peer.rows_of(answer) for answer in answers]
        return {
            "ef": ef,
            "recall": recall(rows, truth[:, :K]),
            **measure.percentiles(seconds),
            "cpu_us": cpu / len(seconds) * 1e6,
            "queries": len(seconds),
        }

    def plain(self) -> list[dict[str, Any]]:
        def measured(ef: int) -> dict[str, Any]:
            return self.point(ef, lambda query: self.peer.ask(query, K), self.data.truth)

        return measure.until_recall(self.job["efs"], measured, self.job["stop"])

    def filtered(self, sweep: list[dict[str, Any]]) -> Optional[dict[str, Any]]:
        """By name: points, the first with what the first query with this filter took."""
        try:
            self.peer.prepare_filter(self.data.filters[0]["where"])
        except Unsupported:
            return None
        efs = measure.filter_efs(self.job["efs"], sweep)
        return {each["name"]: self.one_filter(each, efs) for each in self.data.filters}

    def one_filter(self, each: dict[str, Any], efs: list[int]) -> list[dict[str, Any]]:
        where = self.peer.prepare_filter(each["where"])
        truth = self.data.filter_truth(each["name"])
        self.peer.set_ef(efs[0])
        begun = time.perf_counter()
        self.peer.ask_filtered(self.queries[0], K, where)
        new = (time.perf_counter() - begun) * 1000

        def measured(ef: int) -> dict[str, Any]:
            return self.point(ef, lambda query: self.peer.ask_filtered(query, K, where), truth)

        points = measure.until_recall(efs, measured, 0.95)
        points[0]["first_ms"] = new
        return points

    def containing(self, ef: int) -> Optional[dict[str, Any]]:
        """Queries among the texts with a rare word."""
        word = self.data.word
        if word is None:
            return None
        truth = self.data.filter_truth("contains")
        try:
            found = self.point(ef, lambda query: self.peer.ask_containing(query, K, word), truth)
        except Unsupported:
            return None
        return {"word": word, **found}


def search(peer: Peer, job: dict[str, Any]) -> dict[str, Any]:
    """Recall against latency of single queries from one thread."""
    peer.open()
    searches = Searches(peer, job)
    sweep = searches.plain()
    filters = searches.filtered(sweep)
    return {
        "sweep": sweep,
        "filters": filters,
        "contains": searches.containing(sweep[-1]["ef"]),
    }


def rate(peer: Peer, queries: list[Any], threads: int, seconds: float) -> float:
    """Queries a second from so many threads of this process, each asking one at a time."""
    counts = [0] * threads
    errors: list[BaseException] = []
    gate = threading.Barrier(threads + 1)

    def run(thread: int) -> None:
        gate.wait()
        end = time.perf_counter() + seconds
        try:
            while time.perf_counter() < end:
                query = queries[(counts[thread] * threads + thread) % len(queries)]
                peer.ask(query, K)
                counts[thread] += 1
        except BaseException as error:  # told by the thread that waits
            errors.append(error)

    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    begun = time.perf_counter()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return sum(counts) / (time.perf_counter() - begun)


def batch_rate(peer: Peer, data: Dataset, size: int, seconds: float) -> Optional[dict[str, float]]:
    """Queries a second in calls with `size` queries, and one by one, all on one core."""
    batches = [data.queries[i : i + size] for i in range(0, len(data.queries) - size + 1, size)]
    if not batches:
        return None
    queries = [peer.prepare(query) for query in data.queries]
    cores = os.sched_getaffinity(0)
    use_cores({min(cores)})
    try:
        rows = peer.batch_rows(peer.ask_batch(batches[0], K))
        asked = 0
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            peer.ask_batch(batches[asked // size % len(batches)], K)
            asked += size
        found = asked / (time.perf_counter() - begun)
        single = rate(peer, queries, 1, seconds)
    except Unsupported:
        return None
    finally:
        use_cores(cores)
    part = recall(rows, data.truth[:size, :K])
    return {"size": size, "qps": found, "single_qps": single, "recall": part}


def load(peer: Peer, job: dict[str, Any]) -> dict[str, Any]:
    """Memory after 1,000 queries, then queries a second; with `limited` the former only."""
    data = Dataset.load(pathlib.Path(job["data"]))
    queries = [peer.prepare(query) for query in data.queries]
    before = measure.memory()
    peer.open()
    peer.set_ef(job["ef"])
    asked = [queries[i % len(queries)] for i in range(MEMORY_QUERIES)]
    answers, seconds, _ = measure.ask_each(lambda query: peer.ask(query, K), asked, 60)
    del answers
    result: dict[str, Any] = {
        "memory": measure.memory(),
        "memory_before_open": before,
        "memory_queries": len(seconds),
        **measure.percentiles(seconds[len(seconds) // 2 :]),
    }
    if not job["limited"]:
        result["qps"] = {
            str(threads): rate(peer, queries, threads, job["seconds"]) for threads in (1, 2)
        }
        result["batch"] = batch_rate(peer, data, 64, job["seconds"])
    return result


def use_cores(cores: set[int]) -> None:
    """For every thread of this process, and those that they start."""
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread), cores)


def describe(peer: Any) -> dict[str, Any]:
    """Which engine this is; with it, that its package can be imported."""
    found = {"version": peer.version(), "about": peer.about}
    return {**found, "identity": peer.identity()} if isinstance(peer, Peer) else found


def main() -> int:
    job = json.loads(pathlib.Path(sys.argv[1]).read_text())
    try:
        peer = find(job["peer"])(pathlib.Path(job["folder"]), job["threads"])
        if job["task"] == "version":
            result = describe(peer)
        elif isinstance(peer, Peer):
            result = {"build": build, "first": first, "search": search, "load": load}[job["task"]](
                peer, job
            )
        else:
            result = getattr(peer, job["task"])(job)
    except Exception as error:  # one peer's failure is a result, and the others go on
        traceback.print_exc()
        result = {"error": f"{type(error).__name__}: {error}"}
    pathlib.Path(sys.argv[2]).write_text(json.dumps(result))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # an engine that is slow to end, or fails at it, is not measured


if __name__ == "__main__":
    main()
