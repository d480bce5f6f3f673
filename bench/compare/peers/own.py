# SPDX-License-Identifier: Apache-2.0
"""vkb itself: its Python package, and its program, which is asked as a C++ program would ask."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import threading
import time
from typing import Any, Optional

import measure
import numpy as np
from dataset import Dataset, K, recall

from peers.base import Peer


def program() -> str:
    """The `vkb` program."""
    return os.environ["VKB_BINARY"]


def call(*arguments: object) -> dict[str, Any]:
    """The JSON that a verb of the program prints."""
    command = [program(), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"vkb {arguments[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Vkb(Peer):
    name = store = "vkb"
    package = "vkb"
    about = "PersistentClient of the Python package, cosine"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        import vkb

        self.module = vkb
        self.client: Any = None
        self.collection: Any = None

    def build(self, data: Dataset) -> None:
        """Rows go in through the package; the program then merges them into one segment."""
        began = time.monotonic()
        self.client = self.module.PersistentClient(str(self.folder))
        graph = {"space": "cosine", "max_neighbors": data.m}
        self.collection = self.client.create_collection(
            "compare",
            embedding_function=None,
            configuration={"hnsw": {**graph, "ef_construction": data.ef_construction}},
        )
        for start, block in data.blocks():
            end = start + len(block)
            self.collection.add(
                ids=[str(row) for row in range(start, end)],
                embeddings=block,
                metadatas=data.metadata(start, end),
                documents=data.texts(start, end),
            )
        self.client.close()
        added = time.monotonic() - began
        merged = call("compact", "--path", self.folder)["seconds"]
        self.remark = f"adding {added:.1f} s, merging into one segment {merged:.1f} s"

    def open(self) -> None:
        self.client = self.module.PersistentClient(str(self.folder))
        self.collection = self.client.get_collection("compare", embedding_function=None)

    def set_ef(self, ef: int) -> None:
        super().set_ef(ef)
        self.collection.modify(configuration={"hnsw": {"ef_search": ef}})

    def prepare(self, query: np.ndarray) -> Any:
        return query[None]

    def ask(self, query: Any, k: int) -> Any:
        return self.collection.query(query_embeddings=query, n_results=k, include=["distances"])

    def rows_of(self, answer: Any) -> list[int]:
        return [int(each) for each in answer["ids"][0]]

    def ask_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.ask(queries, k)

    def batch_rows(self, answer: Any) -> list[list[int]]:
        return [[int(each) for each in ids] for ids in answer["ids"]]

    def prepare_filter(self, where: dict[str, Any]) -> Any:
        return where

    def ask_filtered(self, query: Any, k: int, where: Any) -> Any:
        return self.collection.query(
            query_embeddings=query, n_results=k, where=where, include=["distances"]
        )

    def ask_containing(self, query: Any, k: int, word: str) -> Any:
        return self.collection.query(
            query_embeddings=query,
            n_results=k,
            where_document={"$contains": word},
            include=["distances"],
        )

    def version(self) -> str:
        return self.module.__version__

    def identity(self) -> str:
        """Of a version under development there are many builds."""
        files = (self.module._vkb.__file__, program())
        digests = [hashlib.sha256(pathlib.Path(each).read_bytes()).hexdigest() for each in files]
        return " ".join([self.version(), *(digest[:12] for digest in digests)])

    def close(self) -> None:
        self.client.close()


class VkbProgram:
    """The tasks of worker.py by `vkb bench` and `vkb query`, on the store that Vkb built."""

    name = "vkb-program"
    store = "vkb"
    about = "`vkb bench` and `vkb query` on the same store: no Python in what is timed"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        self.folder = folder
        self.threads = threads

    def version(self) -> str:
        command = [program(), "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def bench(self, job: dict[str, Any], efs: list[int], *more: object) -> list[dict[str, Any]]:
        """`vkb bench query`: an entry an ef."""
        data = pathlib.Path(job["data"])
        values = ["--ef", ",".join(map(str, efs))] if efs else []
        return call("bench", "query", "--path", self.folder, "--queries", data / "queries.npy",
                    "-k", K, *values, *more)["results"]  # fmt: skip

    def points(
        self, job: dict[str, Any], efs: list[int], truth: str, target: float, *more: object
    ) -> list[measure.Point]:
        """One call for all, because naming the true rows takes a walk over the store."""
        data = pathlib.Path(job["data"])
        names = ("ef", "recall", "p50_us", "p95_us", "p99_us", "mean_us", "qps")
        found = {
            each["ef"]: {**{name: each[name] for name in names}, "queries": job["queries"]}
            for each in self.bench(job, efs, "--truth", data / f"{truth}.npy", *more)
        }
        return measure.until_recall(efs, found.__getitem__, target)

    def search(self, job: dict[str, Any]) -> dict[str, Any]:
        data = Dataset.load(pathlib.Path(job["data"]))
        sweep = self.points(job, job["efs"], "truth", job["stop"])
        [exact] = self.bench(job, [], "--exact", "--truth", data.folder / "truth.npy")
        efs = measure.filter_efs(job["efs"], sweep)
        filters = {}
        for each in data.filters:
            more = ("--where", json.dumps(each["where"]))
            filters[each["name"]] = self.points(job, efs, f"truth_{each['name']}", 0.95, *more)
        return {
            "sweep": sweep,
            "exact": {name: exact[name] for name in ("recall", "p50_us")},
            "filters": filters,
            "contains": self.containing(data, sweep[-1]["ef"]),
        }

    def containing(self, data: Dataset, ef: int) -> Optional[dict[str, Any]]:
        if data.word is None:
            return None
        found = call("query", "--path", self.folder, "--vector-file", data.folder / "queries.npy",
                     "--where-document", json.dumps({"$contains": data.word}), "-k", K,
                     "--ef", ef, "--include", "distances")  # fmt: skip
        rows = [[int(each) for each in ids] for ids in found["ids"]]
        per_query = found["elapsed_ms"] * 1000 / len(rows)
        part = recall(rows, data.filter_truth("contains"))
        return {"word": data.word, "recall": part, "mean_us": per_query}

    def first(self, job: dict[str, Any]) -> dict[str, Any]:
        """A fresh process from its start to its printed answer."""
        one = pathlib.Path(job["data"]) / "query.npy"
        command = [program(), "query", "--path", str(self.folder), "--vector-file", str(one),
                   "-k", str(K), "--ef", str(job["ef"]), "--include", "distances",
                   "--json"]  # fmt: skip
        began = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        whole = (time.monotonic() - began) * 1000
        answer = json.loads(done.stdout)
        return {
            "open_ms": answer["open_ms"],
            "first_answer_ms": answer["open_ms"] + answer["elapsed_ms"],
            "process_ms": whole,
        }

    def load(self, job: dict[str, Any]) -> dict[str, Any]:
        """Memory is the largest seen while the program answers, looked at every 2 ms. As in
        worker.load(), the first 500 answers are not timed."""
        largest: dict[str, float] = {}
        ended = threading.Event()

        def watch(pid: int) -> None:
            while not ended.wait(0.002):
                for name, value in measure.memory(pid).items():
                    largest[name] = max(value, largest.get(name, 0))

        command = [program(), "bench", "query", "--path", str(self.folder), "--queries",
                   str(pathlib.Path(job["data"]) / "queries.npy"), "--ef", str(job["ef"]),
                   "--warm-up", "500", "-k", str(K), "--json"]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            watcher = threading.Thread(target=watch, args=(process.pid,))
            watcher.start()
            out = process.communicate()[0]
            ended.set()
            watcher.join()
        one = json.loads(out)["results"][0]
        result: dict[str, Any] = {"memory": largest, "p50_us": one["p50_us"]}
        if not job["limited"]:
            two = self.bench(job, [job["ef"]], "--threads", 2)[0]
            result["qps"] = {"1": one["qps"], "2": two["qps"]}
        return result
