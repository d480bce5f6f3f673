# SPDX-License-Identifier: Apache-2.0
"""Exceptions: their names, what else catches them, and that they travel."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from typing import Any

import chromadb.errors
import pytest

import vkb
from vkb import errors


def test_all_names_of_chroma_are_there():
    for name, theirs in inspect.getmembers(chromadb.errors, inspect.isclass):
        if issubclass(theirs, chromadb.errors.ChromaError):
            ours = getattr(errors, name)
            assert issubclass(ours, errors.ChromaError)
            if name != "ChromaError":  # theirs has none
                assert (ours("x").name(), ours("x").code()) == (theirs.name(), theirs("x").code())
    assert set(errors.error_types) == set(chromadb.errors.error_types)


def test_each_is_also_chromadbs_of_that_name(client: Any, notes: Any):
    for kind, call in {
        "NotFoundError": lambda: client.get_collection("none"),
        "InvalidArgumentError": lambda: client.create_collection("a b"),
        "DuplicateIDError": lambda: notes.add(ids=["a", "a"], embeddings=[[1], [2]]),
        "UniqueConstraintError": lambda: client.create_collection("notes"),
        "InternalError": lambda: client.create_collection("notes"),  # as Chroma's own client
    }.items():
        for module in (vkb.errors, chromadb.errors):
            with pytest.raises(getattr(module, kind)) as caught:
                call()
            assert isinstance(caught.value, chromadb.errors.ChromaError)
            again = pickle.loads(pickle.dumps(caught.value))
            assert type(again) is type(caught.value)
            assert str(again) == str(caught.value) == caught.value.message()


def test_without_chromadb_they_stand_alone(tmp_path: Any):
    program = """
import sys, vkb
client = vkb.PersistentClient(sys.argv[1])
try:
    client.get_collection("none")
except vkb.errors.NotFoundError as error:
    first = error
assert type(first) is vkb.errors.NotFoundError
assert "chromadb" not in sys.modules
import chromadb.errors
try:
    client.get_collection("none")
except chromadb.errors.NotFoundError as error:
    assert isinstance(error, vkb.errors.NotFoundError)
    print(error.code(), error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "404 Collection [none] does not exist\n", done.stderr


def test_a_closed_client(client: Any, notes: Any):
    client.close()
    client.close()
    for call in (notes.count, client.list_collections):
        with pytest.raises(RuntimeError, match="this client is closed"):
            call()


def test_reset_is_refused_unless_allowed(tmp_path: Any):
    with vkb.PersistentClient(tmp_path) as client:
        with pytest.raises(errors.ChromaError, match="[Rr]eset"):
            client.reset()
        with pytest.raises(ValueError, match="different settings"):
            vkb.PersistentClient(tmp_path, vkb.Settings(allow_reset=True))
    with vkb.PersistentClient(tmp_path, vkb.Settings(allow_reset=True)) as client:
        assert client.reset()


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"a": 2**63}, None),
        ({"a": -(2**63)}, None),
        ({"a": 10**400}, ValueError),
        ({"a": "\ud800"}, UnicodeEncodeError),
        ({"\ud800": 1}, UnicodeEncodeError),
        ({"a": {"b": 1}}, ValueError),
        ({"a": ("x",)}, ValueError),
        ({"a": [1, "x"]}, ValueError),
        ({"a": [1, 2.5]}, ValueError),
        ({"a": []}, ValueError),
        ({"a": b"x"}, ValueError),
        ({1: "a"}, TypeError),
        ({"": 1}, errors.InvalidArgumentError),
        ({"#a": 1}, errors.InvalidArgumentError),
        ({"a": vkb.SparseVector([1], [0.5])}, errors.ChromaError),
    ],
    ids=repr,
)
def test_metadata(notes: Any, metadata: Any, kind: Any):
    if kind is None:
        notes.add(ids=["a"], embeddings=[[1]], metadatas=[metadata])
        (value,) = notes.get()["metadatas"][0].values()
        assert value == (float(2**63) if metadata["a"] > 0 else -(2**63))
        assert isinstance(value, float if metadata["a"] > 0 else int)
    else:
        with pytest.raises(kind):
            notes.add(ids=["a"], embeddings=[[1]], metadatas=[metadata])
        assert notes.count() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": -1},
        {"offset": -1},
        {"limit": "x"},
        {"where": {"a": {"$gt": float("nan")}}},
        {"where_document": {"$contains": "\ud800"}},
        {"where_document": {"$regex": "("}},
        {"ids": ["\ud800"]},
        {"where": {"$and": [{"a": 1}]}},
    ],
    ids=repr,
)
def test_what_get_refuses(notes: Any, arguments: Any):
    with pytest.raises((ValueError, errors.InvalidArgumentError)):
        notes.get(**arguments)


def test_numbers_that_are_too_large_mean_all(notes: Any):
    notes.add(ids=["a", "b"], embeddings=[[1], [2]])
    assert notes.get(limit=2**70)["ids"] == ["a", "b"]
    assert notes.get(offset=2**70)["ids"] == []
    assert notes.query(query_embeddings=[1], n_results=2**70)["ids"] == [["a", "b"]]


def test_deep_filters_end_in_an_error(notes: Any):
    clause: Any = {"a": 1}
    for _ in range(5000):
        clause = {"$and": [clause, {"a": 1}]}
    with pytest.raises((ValueError, RecursionError, errors.InvalidArgumentError)):
        notes.get(where=clause)
    assert notes.count() == 0
