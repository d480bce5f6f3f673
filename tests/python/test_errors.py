# SPDX-License-Identifier: Apache-2.0
"""Exceptions: their names, what else catches them, and that they travel."""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import chromadb
import numpy as np
import pytest

import vkb
from support import chroma
from vkb import errors
from vkb.server_api import Batch


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
        with pytest.raises(errors.AuthorizationError, match="Reset is disabled by config"):
            client.reset()
        with pytest.raises(ValueError, match="different settings"):
            vkb.PersistentClient(tmp_path, vkb.Settings(allow_reset=True))
    with vkb.PersistentClient(tmp_path, vkb.Settings(allow_reset=True)) as client:
        assert client.reset()


MB = 1024 * 1024


@pytest.mark.parametrize("package", [vkb, chromadb])
def test_a_memory_limit(tmp_path: pathlib.Path, package: Any):
    def opened(limit: Any) -> Any:  # chromadb remembers a path that it could not open
        directory = str(tmp_path / f"kb{limit}")
        settings = package.Settings(is_persistent=True, persist_directory=directory)
        settings.chroma_memory_limit_bytes = limit
        if package is chromadb:
            settings.chroma_api_impl = "vkb.chroma.EmbeddedAPI"
        return package.Client(settings)

    for limit, message in (
        (64 * MB - 1, "67108863 bytes, expected at least 67108864"),
        (-1, "chroma_memory_limit_bytes to be a non-negative integer"),
        (1e9, "chroma_memory_limit_bytes to be a non-negative integer"),
    ):
        with pytest.raises(chromadb.errors.InvalidArgumentError, match=message):
            opened(limit)
    assert list(tmp_path.iterdir()) == []
    notes = opened(64 * MB).create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=[[1.0]])
    assert notes.query(query_embeddings=[[1.0]])["ids"] == [["a"]]


def test_clients_of_a_store_agree_on_its_memory_limit(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    limited = vkb.Settings(chroma_memory_limit_bytes=64 * MB)
    with vkb.PersistentClient(tmp_path, limited), vkb.PersistentClient(tmp_path, limited):
        with pytest.raises(ValueError, match=r"different settings \(chroma_memory_limit_bytes\)"):
            vkb.PersistentClient(tmp_path)
    monkeypatch.setenv("CHROMA_MEMORY_LIMIT_BYTES", str(32 * MB))
    with pytest.raises(errors.InvalidArgumentError, match="memory limit: 33554432 bytes"):
        vkb.PersistentClient(tmp_path)
    monkeypatch.setenv("CHROMA_MEMORY_LIMIT_BYTES", "1GB")
    with pytest.raises(ValueError, match="CHROMA_MEMORY_LIMIT_BYTES: expected an integer"):
        vkb.PersistentClient(tmp_path)


def test_reset_is_refused_in_the_same_way_under_chromadb(tmp_path: Any):
    settings = chromadb.Settings(is_persistent=True, persist_directory=str(tmp_path))
    own = chromadb.PersistentClient(tmp_path / "own")
    settings.chroma_api_impl = "vkb.chroma.EmbeddedAPI"
    for client in (own, chromadb.Client(settings)):
        with pytest.raises(chromadb.errors.AuthorizationError, match="Reset is disabled by config"):
            client.reset()


@pytest.mark.parametrize("package", [vkb, chromadb])
def test_a_path_that_holds_no_store(tmp_path: pathlib.Path, package: Any):
    """The exception is the one of Chroma's own PersistentClient."""
    file = tmp_path / "file"
    file.write_text("not a store")
    for path, message in (
        (file, f"{file} is a file; a store is a directory: give another path"),
        (file / "a" / "b", f"{file}/a/b cannot be made: {file} is a file; a store is a directory"),
    ):
        settings = package.Settings(is_persistent=True, persist_directory=str(path))
        if package is chromadb:
            settings.chroma_api_impl = "vkb.chroma.EmbeddedAPI"
        with pytest.raises(chromadb.errors.InternalError) as caught:
            package.Client(settings)
        assert message in str(caught.value)
        assert isinstance(caught.value, errors.InternalError)
    assert file.read_text() == "not a store"


@pytest.fixture
def read_only() -> Iterator[pathlib.Path]:
    """A store that this user may read and not write; root becomes nobody meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name) / "store"
        with vkb.PersistentClient(directory) as client:
            client.create_collection("notes", embedding_function=None)
        (directory.parent / "empty").mkdir()
        everything = (*directory.parent.rglob("*"), directory.parent)
        for each in everything:
            each.chmod(0o555 if each.is_dir() else 0o444)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(65534)
            yield directory
        finally:
            if is_root:
                os.seteuid(0)
            for each in everything:
                each.chmod(0o755)


def test_a_path_that_is_not_writable(read_only: pathlib.Path):
    """A store that is there can be read; a new one cannot be made."""
    with vkb.PersistentClient(read_only) as client:
        assert client.get_collection("notes", embedding_function=None).count() == 0
        with pytest.raises(errors.InternalError, match=f"{read_only}/.*: Permission denied"):
            client.create_collection("more", embedding_function=None)
    empty = read_only.parent / "empty"
    for path in (empty, empty / "a" / "b"):
        with pytest.raises(errors.InternalError) as caught:
            vkb.PersistentClient(path)
        assert f"{empty} is not writable for user {os.geteuid()}" in str(caught.value)


BAD_RECORDS = {
    "document": ({"documents": ["a", "b\ud800"]}, "the document of record 1, id 'y'"),
    "uri": ({"uris": ["a", "b\ud800"]}, "the uri of record 1, id 'y'"),
    "value": ({"metadatas": [None, {"k": "\ud800"}]}, "value under metadata key 'k' of record 1"),
    "list": ({"metadatas": [None, {"k": ["a", "\ud800"]}]}, "metadata key 'k' of record 1, id 'y'"),
    "key": ({"metadatas": [None, {"\ud800": 1}]}, "the metadata key '.ud800' of record 1, id 'y'"),
    "id": ({"ids": ["x", "y\ud800"]}, "the id of record 1, id 'y.ud800'"),
    "nan": (
        {"metadatas": [{"k": 1}, {"k": math.nan}]},
        "key 'k' of record 1, id 'y': .* found nan",
    ),
    "inf": ({"metadatas": [None, {"k": [1.0, -math.inf]}]}, "record 1, id 'y': .* found -inf"),
    "vector": ({"embeddings": [[1, 2], [1, math.nan]]}, "the embedding of record 1, id 'y': .*NaN"),
    "large": ({"embeddings": np.array([[1, 2], [1e39, 1]])}, "the embedding of record 1, id 'y'"),
    "rows": ({"embeddings": [np.zeros(2), np.array([math.inf, 1])]}, "embedding of record 1, id"),
}


@pytest.mark.parametrize("operation", ["add", "upsert", "update"])
@pytest.mark.parametrize("case", BAD_RECORDS)
@pytest.mark.parametrize("where", ["embedded", "http"])
def test_a_refusal_names_the_record(
    where: str, case: str, operation: str, notes: Any, vkb_server: chroma.ChromaServer
):
    """Chroma in the process drops such metadata silently; its server refuses it."""
    columns, message = BAD_RECORDS[case]
    is_text = case in ("document", "uri", "value", "list", "key", "id")
    kind = UnicodeEncodeError if is_text else errors.InvalidArgumentError
    with contextlib.ExitStack() as stack:
        if where == "http":
            client = stack.enter_context(vkb.HttpClient("127.0.0.1", vkb_server.port))
            notes = client.get_or_create_collection("refused", embedding_function=None)
        good = {"ids": ["x", "y"], "embeddings": [[1, 2], [3, 4]]}
        notes.upsert(**good)
        before = notes.get(include=["documents", "metadatas", "uris"])
        with pytest.raises(kind, match=message):
            getattr(notes, operation)(**{**good, **columns})
        assert notes.get(include=["documents", "metadatas", "uris"]) == before


def test_other_refusals_stay_what_they_are(notes: Any):
    """Columns of unequal length, which only code below the collections can give."""
    with pytest.raises(errors.InvalidArgumentError, match="(?i)length|number"):
        notes._client.add(notes._place, Batch(["x", "y"], np.ones((1, 2)), documents=["a"]))


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
