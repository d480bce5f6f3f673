# SPDX-License-Identifier: Apache-2.0
"""What `vkb serve` has acknowledged is there after a restart, in whatever way the last one ended;
what it has not is whole or absent."""

from __future__ import annotations

import http.client
import json
import pathlib
import signal
import threading
from collections.abc import Iterator

import pytest

from support import chroma
from support.chroma import DATABASE, ChromaServer

WRITERS = 4
BATCH = 25
ACKNOWLEDGED = 40  # batches before the server is told to end


@pytest.fixture
def server(vkb_binary: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[ChromaServer]:
    with chroma.vkb_serve(vkb_binary, tmp_path) as server:
        yield server


def batch_of(writer: int, number: int) -> dict:
    """A batch that can be told by its ids; half of its records replace those of batch 0."""
    mine = [f"{writer}-{number}-{n}" for n in range(BATCH)]
    again = [f"{writer}-shared-{n}" for n in range(BATCH)]
    return {
        "ids": mine + again,
        "embeddings": [[float(number), float(n)] for n in range(2 * BATCH)],
        "documents": [f"document {writer} {number} {n}" for n in range(2 * BATCH)],
        "metadatas": [{"number": number}] * (2 * BATCH),
    }


class Writers:
    """Threads that upsert batches until the server is gone."""

    def __init__(self, server: ChromaServer, path: str):
        self.acknowledged: list[list[int]] = [[] for _ in range(WRITERS)]
        self.tried = [-1] * WRITERS
        self.enough = threading.Event()
        self.failures: list[str] = []
        arguments = [(server.port, path, writer) for writer in range(WRITERS)]
        self.threads = [threading.Thread(target=self._write, args=each) for each in arguments]

    def _write(self, port: int, path: str, writer: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        number = 0
        while True:
            self.tried[writer] = number
            try:
                connection.request("POST", path, json.dumps(batch_of(writer, number)))
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                break
            if answer.status != 200:
                self.failures.append(f"{answer.status} {body!r}")
                break
            self.acknowledged[writer].append(number)
            if sum(map(len, self.acknowledged)) >= ACKNOWLEDGED:
                self.enough.set()
            number += 1
        self.enough.set()
        connection.close()

    def run_until(self, server: ChromaServer, number: int) -> int:
        """Writes, sends the server the signal in the midst of it, and returns its exit code."""
        for thread in self.threads:
            thread.start()
        self.enough.wait()
        server.signal(number)
        code = server.wait()
        for thread in self.threads:
            thread.join()
        return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_acknowledged_writes_survive(server: ChromaServer, number: signal.Signals):
    made = server.request("POST", f"{DATABASE}/collections", {"name": "things"}).json
    path = f"{DATABASE}/collections/{made['id']}"
    writers = Writers(server, f"{path}/upsert")
    code = writers.run_until(server, number)
    graceful = number != signal.SIGKILL
    assert code == (128 + number if graceful else -number), server.log_tail()
    assert writers.failures == []
    assert sum(map(len, writers.acknowledged)) >= ACKNOWLEDGED

    server.start()
    include = {"include": ["documents", "embeddings", "metadatas"]}
    got = server.request("POST", f"{path}/get", include).json
    records = {
        id_: (document, embedding, metadata)
        for id_, document, embedding, metadata in zip(
            got["ids"], got["documents"], got["embeddings"], got["metadatas"]
        )
    }
    assert len(records) == server.request("GET", f"{path}/count").json
    for writer in range(WRITERS):
        acknowledged = writers.acknowledged[writer]
        assert acknowledged == list(range(len(acknowledged)))
        # The last try had no answer: it may have been carried out, but then wholly.
        last = len(acknowledged) - 1
        tried = writers.tried[writer]
        if f"{writer}-{tried}-0" in records:
            last = tried
        expected: dict = {}
        for n in range(last + 1):
            batch = batch_of(writer, n)
            columns = (batch["documents"], batch["embeddings"], batch["metadatas"])
            expected.update(zip(batch["ids"], zip(*columns)))
        mine = {id_: record for id_, record in records.items() if id_.startswith(f"{writer}-")}
        assert mine == expected
    nearest = {"query_embeddings": [[0.0, 0.0]], "n_results": 1, "include": ["distances"]}
    found = server.request("POST", f"{path}/query", nearest).json
    assert found["distances"] == [[0.0]]


def test_collections_and_what_is_set_for_them_survive(server: ChromaServer):
    configuration = {
        "hnsw": {"space": "cosine", "ef_search": 55},
        "embedding_function": {"type": "known", "name": "mine", "config": {"key": ["é", None]}},
    }
    body = {"name": "things", "metadata": {"a": 1.0, "b": "é"}, "configuration": configuration}
    server.request("POST", "/api/v2/tenants", {"name": "tenant_1"})
    server.request("POST", "/api/v2/tenants/tenant_1/databases", {"name": "database_1"})
    elsewhere = "/api/v2/tenants/tenant_1/databases/database_1/collections"
    made = [server.request("POST", f"{DATABASE}/collections", body).json]
    made.append(server.request("POST", elsewhere, {**body, "name": "others"}).json)
    record = {"ids": ["a"], "embeddings": [[3.0, 4.0]], "metadatas": [{"key": ["x"]}]}
    server.request("POST", f"{DATABASE}/collections/{made[0]['id']}/add", record)
    before = [server.request("GET", f"{DATABASE}/collections/things").json]
    before.append(server.request("GET", f"{elsewhere}/others").json)
    server.restart()
    after = [server.request("GET", f"{DATABASE}/collections/things").json]
    after.append(server.request("GET", f"{elsewhere}/others").json)
    assert after == before
    assert [each["id"] for each in after] == [each["id"] for each in made]
    assert after[0]["dimension"] == 2
    assert after[0]["configuration_json"]["embedding_function"] == (
        configuration["embedding_function"]
    )
