# SPDX-License-Identifier: Apache-2.0
"""Nothing is kept of what calls took and gave."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vkb

CALLS = 10_000


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


@pytest.fixture
def full(notes: Any) -> Any:
    notes.add(
        ids=[str(n) for n in range(50)],
        embeddings=np.eye(50, 300, dtype="float32"),
        documents=["some text " * 20] * 50,
        metadatas=[{"n": n, "list": ["a", "b"], "f": 0.5, "yes": True} for n in range(50)],
        uris=[f"file:///{n}" for n in range(50)],
    )
    return notes


def calls(full: Any) -> dict[str, Callable[[], Any]]:
    vector = np.zeros(300, dtype="float32")
    everything = ["documents", "metadatas", "embeddings", "uris"]

    def refused() -> None:
        with pytest.raises(vkb.errors.InvalidArgumentError):
            full.query(query_embeddings=np.zeros(3))

    def refused_text() -> None:
        with pytest.raises(UnicodeEncodeError):
            full.update(ids=["1"], metadatas=[{"word": "\ud800"}])

    return {
        "get": lambda: full.get(limit=5, include=everything),
        "query": lambda: full.query(
            query_embeddings=vector, n_results=5, where={"n": {"$lt": 9}}, include=everything
        ),
        "refused": refused,
        "refused text": refused_text,
    }


@pytest.mark.parametrize("name", ["get", "query", "refused", "refused text"])
def test_memory_stays_flat(full: Any, name: str):
    """An answer here is over 6 kB: had each left something, it would be tens of megabytes."""
    call = calls(full)[name]
    for _ in range(CALLS // 10):
        call()
    gc.collect()
    before = resident_bytes()
    for _ in range(CALLS):
        call()
    gc.collect()
    assert resident_bytes() - before < 3_000_000


def test_references_of_arguments_are_given_back(notes: Any):
    ids = ["a", "b"]
    vectors = np.zeros((2, 3), dtype="float32")
    documents = ["x" * 100, "y" * 100]
    metadatas = [{"word": "z" * 100}, {"list": ["v" * 100]}]
    kept = [ids, ids[0], vectors, documents, documents[0], metadatas, metadatas[0]]
    kept += [metadatas[0]["word"], metadatas[1]["list"]]
    before = [sys.getrefcount(each) for each in kept]
    for _ in range(100):
        notes.upsert(ids=ids, embeddings=vectors, documents=documents, metadatas=metadatas)
        notes.get(ids=ids)
        notes.query(query_embeddings=vectors)
        with pytest.raises(TypeError):
            notes.upsert(ids=ids, embeddings=vectors, uris=[documents[0], 5])
    gc.collect()
    assert [sys.getrefcount(each) for each in kept] == before


def test_clients_that_come_and_go(tmp_path: Any):
    """Stores of clients that nobody holds any more are closed, and their memory is given back."""

    def use(n: int) -> None:
        client = vkb.PersistentClient(tmp_path / str(n % 5))
        client.get_or_create_collection("notes").upsert(ids=["a"], embeddings=[[1.0, 2.0]])

    for n in range(20):
        use(n)
    gc.collect()
    before = resident_bytes()
    for n in range(200):
        use(n)
    gc.collect()
    assert resident_bytes() - before < 10_000_000
