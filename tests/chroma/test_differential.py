# SPDX-License-Identifier: Apache-2.0
"""The same random operations sent to `vkb serve` and to the real `chroma run`, and their answers
compared. A failure prints the shortest script found that shows it.

VKB_DIFFERENTIAL_OPERATIONS (3000) and VKB_DIFFERENTIAL_SEED (1) set how many and which."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
import time
from collections.abc import Iterator, Sequence

import pytest

from support import chroma
from support.chroma import Answer, ChromaServer
from support.chroma_compare import difference, missed
from support.chroma_operations import Generator, Operation
from support.wire_rows import NO_UUID

OPERATIONS = int(os.environ.get("VKB_DIFFERENTIAL_OPERATIONS", "3000"))
SEED = int(os.environ.get("VKB_DIFFERENTIAL_SEED", "1"))
SHRINK_SECONDS = 60


class Pair:
    """Both servers, and the UUIDs that their collections have there, by name."""

    def __init__(self, vkb: ChromaServer, real: ChromaServer):
        self.servers = (vkb, real)
        self.reset()

    def reset(self) -> None:
        self.uuids: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.hits = self.missed = 0
        for server in self.servers:
            assert server.request("POST", "/api/v2/reset").status == 200
        databases = chroma.DATABASE.rpartition("/")[0]
        collections = f"{databases}/guard_database/collections"
        real = self.servers[1]
        assert real.request("POST", databases, {"name": "guard_database"}).status == 200
        made = real.request("POST", collections, {"name": "guard"}).json
        self.guard, self.guards = f"{collections}/{made['id']}/add", itertools.count()

    def send(self, side: int, operation: Operation, body: object = None) -> Answer:
        uuids = self.uuids[side]
        path = re.sub(r"\{([^}]+)\}", lambda found: uuids.get(found[1], NO_UUID), operation.path)
        return self.servers[side].request(operation.method, path, body or operation.body)

    def _all_hits(self, operation: Operation) -> dict:
        everything = {**operation.body, "n_results": 1000, "include": ["distances"]}
        return self.send(0, operation, everything).json

    def prepared(self, operation: Operation) -> Operation:
        """The operation without what is known to go wrong in Chroma."""
        vectors = (operation.body or {}).get("embeddings")
        if not vectors or operation.kind not in ("update", "bad"):
            return operation
        base = f"{chroma.DATABASE}/collections"
        name = operation.collection
        if operation.kind == "bad":
            # A refused write gives a new collection a dimension, and later queries find no graph.
            look = self.send(1, Operation("lookup", "GET", f"{base}/by-id/{{{name}}}"))
            if look.status == 200 and look.json["dimension"] is None:
                return Operation("count", "GET", f"{base}/{{{name}}}/count", None, name)
            return operation
        # Vectors for records that are not there are ignored at first; but Chroma applies its log of
        # writes again and again, and then to a later record of that id.
        ids = operation.body["ids"]
        body = {"ids": ids, "include": []}
        look = self.send(1, Operation("get", "POST", f"{base}/{{{name}}}/get", body))
        there = set(look.json["ids"]) if look.status == 200 else set()
        known = [vector if i in there else None for i, vector in zip(ids, vectors)]
        return dataclasses.replace(operation, body={**operation.body, "embeddings": known})

    def run(self, operation: Operation) -> str | None:
        """Sends it to both; returns how their answers differ."""
        operation = self.prepared(operation)
        if operation.kind in ("drop", "delete"):
            # Chroma forgets to delete the lists in the metadata of a dropped collection's records:
            # the next records to get their row numbers would inherit them. A newer row keeps the
            # numbers from being given again.
            record = {"ids": [str(next(self.guards))], "embeddings": [[1.0]]}
            assert self.servers[1].request("POST", self.guard, record).status == 201
        answers = [self.send(side, operation) for side in (0, 1)]
        found = difference(operation, *answers, lambda: self._all_hits(operation))
        if found is None:
            self._follow(operation, answers)
        return found

    def _follow(self, operation: Operation, answers: Sequence[Answer]) -> None:
        for uuids, answer in zip(self.uuids, answers):
            if answer.status != 200:
                continue
            if operation.kind == "create":
                uuids[operation.collection] = answer.json["id"]
            elif operation.kind == "modify" and operation.body.get("new_name"):
                moved = uuids.pop(operation.collection, None)
                if moved:
                    uuids[operation.body["new_name"]] = moved
        if operation.kind == "query" and answers[0].status == 200:
            ours, theirs = (answer.json for answer in answers)
            self.hits += sum(map(len, ours["ids"]))
            self.missed += missed(ours, theirs)

    def everything(self) -> list[Operation]:
        """Operations that read all there is."""
        include = {"include": ["documents", "metadatas", "embeddings", "uris"]}
        path = f"{chroma.DATABASE}/collections"
        return [
            Operation("list", "GET", path),
            *(
                Operation("get", "POST", f"{path}/{{{name}}}/get", include)
                for name in self.uuids[0]
            ),
        ]


@pytest.fixture(scope="module")
def pair(
    vkb_binary: pathlib.Path,
    chroma_server: ChromaServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    with chroma.vkb_serve(vkb_binary, tmp_path_factory.mktemp("differential")) as server:
        yield Pair(server, chroma_server)


def fails(pair: Pair, operations: Sequence[Operation]) -> bool:
    """Whether the last of the operations, and none before, is answered differently."""
    pair.reset()
    return not any(map(pair.run, operations[:-1])) and pair.run(operations[-1]) is not None


def shortened(pair: Pair, history: list[Operation]) -> list[Operation]:
    """The history with as much left out as a minute allows, still failing at its end."""
    deadline = time.monotonic() + SHRINK_SECONDS
    last = history[-1]
    related = [o for o in history if last.collection in (None, o.collection) or o.kind == "modify"]
    if fails(pair, related):
        history = related
    size = len(history) // 2
    while size:
        start = 0
        while start < len(history) - 1 and time.monotonic() < deadline:
            shorter = history[:start] + history[min(start + size, len(history) - 1) :]
            if fails(pair, shorter):
                history = shorter
            else:
                start += size
        size //= 2
    return history


def script(operations: Sequence[Operation]) -> str:
    """A program that sends the operations to the server whose address is its argument."""
    lines = [
        "import json, re, sys, urllib.error, urllib.request",
        "uuids = {}",
        "def send(method, path, body):",
        f"    path = re.sub(r'\\{{([^}}]+)\\}}', lambda m: uuids.get(m[1], {NO_UUID!r}), path)",
        "    data = None if body is None else json.dumps(body).encode()",
        "    request = urllib.request.Request(sys.argv[1] + urllib.request.quote(path), data,",
        "        {'Content-Type': 'application/json'}, method=method)",
        "    try: answer = urllib.request.urlopen(request).read()",
        "    except urllib.error.HTTPError as error: answer = error.read()",
        "    print(method, path, answer.decode())",
        "    if b'configuration_json' in answer and answer[:1] == b'{':",
        "        uuids[json.loads(answer)['name']] = json.loads(answer)['id']",
        "send('POST', '/api/v2/reset', None)",
    ]
    lines += [f"send({o.method!r}, {o.path!r}, {o.body!r})" for o in operations]
    return "\n".join(lines)


def test_random_operations_are_answered_alike(pair: Pair):
    generator = Generator(SEED)
    pair.reset()
    history: list[Operation] = []
    restart_at = {OPERATIONS // 3, 2 * OPERATIONS // 3}
    for number in range(OPERATIONS):
        operation = pair.prepared(generator.next())
        history.append(operation)
        found = pair.run(operation)
        if found:
            short = shortened(pair, history)
            pytest.fail(
                f"operation {number} of seed {SEED}, {operation.kind}; vkb first: {found}\n\n"
                f"{script(short)}\n"
            )
        if number in restart_at:
            pair.servers[0].restart()
            for operation in pair.everything():
                assert pair.run(operation) is None, f"after a restart: {operation}"
    for operation in pair.everything():
        assert pair.run(operation) is None, operation
    # The comparison is worth little if much of it compares refusals, or Chroma's misses.
    assert pair.hits > OPERATIONS / 10
    assert pair.missed < pair.hits / 50
