#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vkb serve and the real `chroma run` on the same records, measured in turns.

usage: chroma_http.py --vectors FILE.npy [--rows N] [--vkb BINARY] [--directory DIR] [--out FILE]

FILE.npy holds float32 vectors. Both servers get the same records (id, vector, document, metadata)
through the same requests. DIR is kept: a second run with the same rows finds both prepared. Prints
a table of figures and of vkb / chroma ratios, and writes all as JSON. Run it with
build/venv/bin/python on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import chroma  # noqa: E402
from support.chroma import ChromaServer  # noqa: E402
from support.http_load import Connection, rate, request  # noqa: E402

COLLECTIONS = f"{chroma.DATABASE}/collections"
NAME = "bench"
BATCH = 1000
K = 10


def encoded(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def batch_of(vectors: np.ndarray, start: int, prefix: str = "") -> dict[str, Any]:
    numbers = range(start, start + len(vectors))
    return {
        "ids": [f"{prefix}{n}" for n in numbers],
        "embeddings": [encoded(vector) for vector in vectors],
        "documents": [f"This is the document with number {n}, of topic {n % 50}." for n in numbers],
        "metadatas": [
            {"number": n, "topic": n % 50, "source": f"file-{n % 1000}"} for n in numbers
        ],
    }


class Bench:
    """The vectors, the queries with their exact answers, and the figures so far."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        vectors = np.load(arguments.vectors, mmap_mode="r")
        self.rows = min(arguments.rows or len(vectors), len(vectors))
        self.vectors = vectors[: self.rows]
        generator = np.random.default_rng(7)
        if arguments.queries:
            queries = np.load(arguments.queries).astype("float32")
        else:
            picked = np.sort(generator.integers(0, self.rows, 1000))
            queries = self.vectors[picked].astype("float32")
            spread = np.std(queries)
            queries += generator.normal(0, spread, queries.shape).astype("float32")
        self.queries = queries[: arguments.query_count]
        self.figures: dict[str, Any] = {"rows": self.rows, "dim": int(self.vectors.shape[1])}

    def exact(self) -> np.ndarray:
        """The K nearest rows of each query by cosine, found by looking at all."""
        best = np.full((len(self.queries), 0), 0)
        score = np.empty((len(self.queries), 0), "float32")
        for start in range(0, self.rows, 50_000):
            block = self.vectors[start : start + 50_000].astype("float32")
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            score = np.hstack([score, self.queries @ block.T])
            best = np.hstack([best, np.tile(np.arange(start, start + len(block)), (len(best), 1))])
            order = np.argsort(-score, axis=1, kind="stable")[:, :K]
            best, score = (np.take_along_axis(each, order, axis=1) for each in (best, score))
        return best

    def note(self, what: str, **figures: Any) -> None:
        self.figures[what] = figures
        print(f"{what}: {json.dumps(figures)}", file=sys.stderr, flush=True)


def prepare(bench: Bench, server: ChromaServer) -> None:
    """Sends all records, unless they are there."""
    listed = server.request("GET", COLLECTIONS).json
    for collection in listed:
        path = f"{COLLECTIONS}/{collection['id']}"
        if collection["name"] == NAME and server.request("GET", f"{path}/count").json == bench.rows:
            return
        server.request("DELETE", f"{COLLECTIONS}/{collection['name']}")
    body = {"name": NAME, "configuration": {"hnsw": {"space": "cosine"}}}
    path = f"{COLLECTIONS}/{server.request('POST', COLLECTIONS, body).json['id']}"
    start = time.perf_counter()
    for first in range(0, bench.rows, BATCH):
        answer = server.request(
            "POST",
            f"{path}/add",
            batch_of(bench.vectors[first : first + BATCH], first),
            timeout=600,
        )
        if answer.status != 201:
            sys.exit(f"{server.name}: add answered {answer.status} {answer.body!r}")
    bench.note(f"prepare {server.name}", seconds=round(time.perf_counter() - start, 1))


def path_of(server: ChromaServer) -> str:
    return f"{COLLECTIONS}/{server.request('GET', f'{COLLECTIONS}/{NAME}').json['id']}"


def latencies(bench: Bench, ways: dict[str, Callable[[np.ndarray], Any]]) -> None:
    """Milliseconds of a query by each way, in turns of 50 queries, and recall@10."""
    exact = bench.exact()
    times: dict[str, list[float]] = {name: [] for name in ways}
    hits = dict.fromkeys(ways, 0)
    for ask in ways.values():  # Chroma builds its graph with the first query after writes
        for query in bench.queries[:20]:
            ask(query)
    for first in range(0, len(bench.queries), 50):
        for name, ask in ways.items():
            for number in range(first, min(first + 50, len(bench.queries))):
                start = time.perf_counter()
                answer = ask(bench.queries[number])
                times[name].append((time.perf_counter() - start) * 1e3)
                hits[name] += len(set(map(int, answer["ids"][0])) & set(exact[number].tolist()))
    for name, each in times.items():
        cuts = statistics.quantiles(each, n=100)
        recall = hits[name] / (K * len(bench.queries))
        bench.note(
            f"query {name}", p50_ms=round(cuts[49], 3), p95_ms=round(cuts[94], 3), recall=recall
        )


def query_requests(bench: Bench, path: str, count: int) -> list[bytes]:
    made = [
        request("POST", f"{path}/query", {"query_embeddings": [query.tolist()], "n_results": K})
        for query in bench.queries
    ]
    return [made[n % len(made)] for n in range(count)]


def throughput(bench: Bench, servers: list[ChromaServer]) -> None:
    """Requests a second: queries, and adds of 100 records to a collection of their own."""
    each = bench.arguments.requests
    for clients in bench.arguments.clients:
        for server in servers:
            requests = query_requests(bench, path_of(server), each)
            bench.note(
                f"queries {server.name} {clients}", **rate(server.port, [requests] * clients)
            )
        for server in servers:
            body = {"name": "adds", "get_or_create": True}
            path = f"{COLLECTIONS}/{server.request('POST', COLLECTIONS, body).json['id']}"
            adds = max(1, each // 20)
            loads = []
            for client in range(clients):
                starts = (np.arange(adds) * 100 + client * 37) % max(1, bench.rows - 100)
                loads.append(
                    [
                        request("POST", f"{path}/add", batch_of(
                            bench.vectors[s : s + 100], s, f"{clients}-{client}-{n}-"))
                        for n, s in enumerate(starts.tolist())
                    ]
                )  # fmt: skip
            bench.note(f"adds {server.name} {clients}", **rate(server.port, loads))
            server.request("DELETE", f"{COLLECTIONS}/adds")


def many_connections(bench: Bench, servers: list[ChromaServer]) -> None:
    """1,000 idle keep-alive connections beside 50 busy ones."""
    heartbeat = request("GET", "/api/v2/heartbeat")
    for server in servers:
        idle = []
        with contextlib.ExitStack() as stack:
            for _ in range(1000):
                connection = Connection.open(server.port)
                stack.callback(connection.socket.close)
                assert connection.ask(heartbeat)[0] == 200
                idle.append(connection)
            requests = query_requests(bench, path_of(server), bench.arguments.requests)
            busy = rate(server.port, [requests] * 2, connections=25)
            alive = 0
            for connection in idle:
                with contextlib.suppress(OSError):
                    alive += connection.ask(heartbeat)[0] == 200
        bench.note(f"1000 idle, 50 busy {server.name}", **busy, idle_alive=alive)


def resident_mib(server: ChromaServer) -> float:
    assert server.process is not None
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def memory(bench: Bench, servers: list[ChromaServer]) -> None:
    """Resident memory while requests come in by the ten thousand."""
    total = bench.arguments.memory_requests
    for server in servers:
        path = path_of(server)
        get = {"where": {"topic": 7}, "limit": 10, "include": ["documents", "metadatas"]}
        queries = query_requests(bench, path, total // 40)
        mixed = [one for query in queries for one in (query, request("POST", f"{path}/get", get))]
        before = resident_mib(server)
        course = [round(before, 1)]
        for _ in range(10):
            rate(server.port, [mixed] * 2, connections=4)
            course.append(round(resident_mib(server), 1))
        bench.note(
            f"memory {server.name}", requests=len(mixed) * 20, mib=course,
            growth_after_first_tenth=round(course[-1] / course[1], 3),
        )  # fmt: skip


@contextlib.contextmanager
def in_process(bench: Bench, directory: pathlib.Path) -> Iterator[dict[str, Callable]]:
    """vkb's client and the chromadb package's, over a copy of the store in this process."""
    import chromadb
    import vkb

    copy = directory / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory / "vkb/store", copy)
    settings = chromadb.Settings(
        chroma_api_impl="vkb.chroma.EmbeddedAPI", is_persistent=True, persist_directory=str(copy)
    )
    try:
        native = vkb.PersistentClient(str(copy)).get_collection(NAME, embedding_function=None)
        unmodified = chromadb.Client(settings).get_collection(NAME, embedding_function=None)
        yield {
            "in process, vkb": lambda q: native.query(query_embeddings=[q], n_results=K),
            "in process, chromadb": lambda q: unmodified.query(query_embeddings=[q], n_results=K),
        }
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def over_http(server: ChromaServer) -> Callable[[np.ndarray], Any]:
    import chromadb

    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    collection = client.get_collection(NAME, embedding_function=None)
    return lambda query: collection.query(query_embeddings=[query], n_results=K)


def table(figures: dict[str, Any]) -> str:
    """Figures of both servers side by side."""
    lines = [f"{'':40} {'vkb':>12} {'chroma':>12} {'ratio':>8}"]
    for what, ours in figures.items():
        if not isinstance(ours, dict) or " vkb" not in what:
            continue
        theirs = figures.get(what.replace(" vkb", " chroma"), {})
        for key, value in ours.items():
            if key in ("requests", "failed") or not isinstance(value, (int, float)):
                continue
            if key in theirs:
                ratio = value / theirs[key] if theirs[key] else float("nan")
                label = f"{what.replace(' vkb', '')} {key}"
                lines.append(f"{label:40} {value:12.3f} {theirs[key]:12.3f} {ratio:8.2f}")
    for what in (w for w in figures if w.startswith("query in process")):
        local = figures[what]["p50_ms"]
        more = figures["query vkb"]["p50_ms"] - local
        lines.append(f"{what + ' p50_ms':40} {local:12.3f}; HTTP takes {more:.3f} more")
    failed = sum(f.get("failed", 0) for f in figures.values() if isinstance(f, dict))
    lines.append(f"requests that failed: {failed}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", required=True, type=pathlib.Path)
    parser.add_argument("--queries", type=pathlib.Path, help=".npy; else noisy rows")
    parser.add_argument("--query-count", type=int, default=1000)
    parser.add_argument("--rows", type=int, help="the first so many vectors [all]")
    parser.add_argument("--vkb", type=pathlib.Path, default=ROOT / "build/release/tools/vkb")
    parser.add_argument("--directory", type=pathlib.Path, default=ROOT / "build/chroma_http")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--requests", type=int, default=2000, help="queries of each client")
    parser.add_argument("--memory-requests", type=int, default=100_000)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    bench = Bench(arguments)
    directory = arguments.directory.resolve() / str(bench.rows)
    with chroma.vkb_serve(arguments.vkb.resolve(), directory / "vkb") as server:
        prepare(bench, server)
    subprocess.run(
        [arguments.vkb, "compact", "--path", directory / "vkb/store", "--collection", NAME],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        local = stack.enter_context(in_process(bench, directory))
        vkb_server = stack.enter_context(
            chroma.vkb_serve(arguments.vkb.resolve(), directory / "vkb")
        )
        real = stack.enter_context(chroma.chroma_run(directory / "chroma"))
        prepare(bench, real)
        servers = [vkb_server, real]
        latencies(bench, {**{s.name: over_http(s) for s in servers}, **local})
        throughput(bench, servers)
        many_connections(bench, servers)
        memory(bench, servers)
    print(table(bench.figures))
    text = json.dumps(bench.figures, indent=2)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
