# SPDX-License-Identifier: Apache-2.0
"""Every method, over every client of the package: a store in the process, in a temporary directory,
behind `vkb serve`, under the chromadb package, and awaited. (tests/chroma compares the answers with
those of the real Chroma.)"""

from __future__ import annotations

import asyncio
import inspect
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import chromadb
import numpy as np
import pytest

import vkb

KINDS = ("persistent", "ephemeral", "http", "chromadb", "awaited")


class Blocking:
    """An awaited client or collection, called without await."""

    def __init__(self, target: Any):
        self.__dict__["_target"] = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            result = value(*arguments, **named)
            if inspect.isawaitable(result):

                async def wait() -> Any:
                    return await result

                result = asyncio.run(wait())
            return self._wrap(result)

        return call

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._wrap(each) for each in value]
        wrapped = isinstance(value, (vkb.AsyncClient, vkb.AsyncCollection))
        return Blocking(value) if wrapped else value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and self._target == other._target


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def connect(
    kind: str, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Any]]:
    """Makes another client of the same store."""
    opened: list[Any] = []
    allowed = vkb.Settings(allow_reset=True)
    if kind == "http":
        server = request.getfixturevalue("vkb_server")

    def make(**options: Any) -> Any:
        if kind == "persistent":
            made = vkb.PersistentClient(tmp_path / "store", allowed, **options)
        elif kind == "ephemeral":
            made = vkb.EphemeralClient(allowed, **options)
        elif kind == "http":
            made = vkb.HttpClient("127.0.0.1", server.port, **options)
        elif kind == "chromadb":
            settings = chromadb.Settings(
                chroma_api_impl="vkb.chroma.EmbeddedAPI",
                is_persistent=True,
                persist_directory=str(tmp_path / "store"),
                allow_reset=True,
            )
            made = chromadb.Client(settings, **options)
        else:
            inner = vkb.PersistentClient(tmp_path / "store", allowed, **options)
            made = Blocking(vkb.AsyncClient(inner))
        opened.append(made)
        return made

    make().reset()
    yield make
    for client in opened:
        client.close()


@pytest.fixture
def client(connect: Callable[..., Any]) -> Any:
    return connect()


@pytest.fixture
def errors(kind: str) -> Any:
    return chromadb.errors if kind == "chromadb" else vkb.errors


@pytest.fixture
def pets(client: Any) -> Any:
    collection = client.create_collection("pets", embedding_function=None)
    collection.add(
        ids=["cat", "dog", "eel"],
        embeddings=[[1, 0], [0.8, 0.6], [-1, 0]],
        metadatas=[{"legs": 4, "tags": ["a", "b"]}, {"legs": 4, "fast": True}, {"legs": 0}],
        documents=["a cat sleeps", "a dog runs", "an eel swims"],
        uris=["file:///cat", "file:///dog", None],
    )
    return collection


def test_the_store_itself(client: Any):
    assert isinstance(client.heartbeat(), int)
    assert client.get_version().count(".") == 2
    assert client.get_max_batch_size() >= 5461
    assert client.get_user_identity().databases == ["default_database"]
    assert client.get_settings() is not None
    assert client.count_collections() == 0


def test_collections(client: Any, errors: Any):
    made = client.create_collection("pets", metadata={"of": "zoo"}, embedding_function=None)
    assert isinstance(made.id, uuid.UUID)
    assert (made.name, made.metadata) == ("pets", {"of": "zoo"})
    assert (made.tenant, made.database) == ("default_tenant", "default_database")
    assert client.get_collection("pets", embedding_function=None) == made
    assert client.get_collection_by_id(made.id, embedding_function=None) == made
    assert client.get_or_create_collection("pets", embedding_function=None) == made
    assert client.create_collection("pets", embedding_function=None, get_or_create=True) == made
    other = client.create_collection("more", embedding_function=None)
    assert {each.name for each in client.list_collections()} == {"pets", "more"}
    pages = [client.list_collections(limit=1, offset=n) for n in range(3)]
    assert sorted(len(page) for page in pages) == [0, 1, 1]
    assert client.count_collections() == 2
    other.modify(name="most", metadata={"x": 1}, configuration={"hnsw": {"ef_search": 99}})
    again = client.get_collection("most", embedding_function=None)
    for each in (other, again):
        assert (each.name, each.metadata) == ("most", {"x": 1})
        assert each.configuration_json["hnsw"]["ef_search"] == 99
        assert each.configuration["hnsw"]["ef_search"] == 99
        assert each.schema.keys["#embedding"].float_list.vector_index.config.hnsw.ef_search == 99
    client.delete_collection("most")
    with pytest.raises(errors.NotFoundError, match="does not exist"):
        client.get_collection("most")
    with pytest.raises(errors.ChromaError, match="already exists"):
        client.create_collection("pets")
    with pytest.raises(errors.InvalidArgumentError, match="Expected a name"):
        client.create_collection("a b")


def test_records(pets: Any):
    assert pets.count() == 3
    assert pets.get()["ids"] == ["cat", "dog", "eel"]
    everything = pets.get(
        ids=["dog", "none"], include=["documents", "metadatas", "embeddings", "uris"]
    )
    assert everything["documents"] == ["a dog runs"]
    assert everything["metadatas"] == [{"legs": 4, "fast": True}]
    assert everything["uris"] == ["file:///dog"]
    np.testing.assert_array_equal(everything["embeddings"], np.array([[0.8, 0.6]], "float32"))
    assert everything["data"] is None
    assert pets.get(where={"legs": 4}, offset=1, limit=5)["ids"] == ["dog"]
    assert pets.get(where={"tags": {"$contains": "b"}})["ids"] == ["cat"]
    assert pets.get(where_document={"$regex": "^an? [ce]"})["ids"] == ["cat", "eel"]
    assert pets.get(include=[])["documents"] is None
    assert pets.get(ids="eel")["ids"] == ["eel"]
    assert pets.peek(2)["ids"] == ["cat", "dog"]
    assert pets.peek(2)["embeddings"].shape == (2, 2)
    nothing = pets.get(ids=["none"], include=["embeddings", "documents"])
    assert (nothing["ids"], nothing["documents"], len(nothing["embeddings"])) == ([], [], 0)


def test_writes(pets: Any, errors: Any):
    pets.add(ids=["cat", "fox"], embeddings=[[9, 9], [0, 1]])  # the cat is there: it stays
    assert pets.get(ids=["cat"])["documents"] == ["a cat sleeps"]
    pets.update(ids=["fox", "none"], documents=["a fox", "x"], embeddings=[[0, -1], [0, 0]])
    pets.update(ids=["cat"], metadatas=[{"legs": None, "new": 1.5}])
    pets.upsert(ids=["gnu", "eel"], embeddings=[[1, 1], [2, 2]], metadatas=[{"legs": 4}, None])
    got = pets.get(include=["metadatas", "documents", "embeddings"])
    assert got["ids"] == ["cat", "dog", "eel", "fox", "gnu"]
    assert got["metadatas"][0] == {"new": 1.5, "tags": ["a", "b"]}
    assert got["documents"][2:] == ["an eel swims", "a fox", None]
    np.testing.assert_array_equal(got["embeddings"][2:], [[2, 2], [0, -1], [1, 1]])
    assert pets.delete(where={"legs": {"$gte": 0}}, limit=1) == {"deleted": 1}
    assert pets.delete(ids=["fox", "none"])["deleted"] == 2  # as many as were given
    assert pets.get()["ids"] == ["cat", "eel", "gnu"]
    with pytest.raises(errors.InvalidArgumentError, match="dimension"):
        pets.add(ids=["new"], embeddings=[[1, 2, 3]])
    with pytest.raises(errors.DuplicateIDError, match="found duplicates of: a in upsert"):
        pets.upsert(ids=["a", "a"], embeddings=[[1, 2], [1, 2]])


def test_queries(pets: Any):
    found = pets.query(query_embeddings=[[1, 0], [-1, 0]], n_results=2)
    assert found["ids"] == [["cat", "dog"], ["eel", "dog"]]
    assert found["documents"][0] == ["a cat sleeps", "a dog runs"]
    np.testing.assert_allclose(found["distances"], [[0, 0.4], [0, 3.6]], atol=1e-6)
    assert (found["embeddings"], found["uris"], found["data"]) == (None, None, None)
    only = pets.query(
        query_embeddings=np.array([1.0, 0.0]),
        ids=["dog", "eel"],
        where={"$or": [{"legs": 0}, {"fast": True}]},
        where_document={"$not_contains": "eel"},
        include=["embeddings", "uris", "metadatas"],
    )
    assert only["ids"] == [["dog"]]
    assert only["uris"] == [["file:///dog"]]
    assert only["distances"] is None
    assert isinstance(only["embeddings"], list)
    np.testing.assert_array_equal(only["embeddings"][0], np.array([[0.8, 0.6]], "float32"))


def test_search_fork_and_status(pets: Any):
    search = vkb.Search().where(vkb.K("legs") > 0).rank(vkb.Knn([1, 0])).limit(1)
    if isinstance(pets, chromadb.Collection):
        search = chromadb.Search(where={"legs": {"$gt": 0}}, limit=1)
        search = search.rank(chromadb.Knn([1, 0])).select(chromadb.K.DOCUMENT, chromadb.K.SCORE)
    else:
        search = search.select(vkb.K.DOCUMENT, vkb.K.SCORE)
    assert pets.search(search).rows() == [[{"id": "cat", "document": "a cat sleeps", "score": 0}]]
    copy = pets.fork("copies")
    copy.delete(ids=["cat"])
    assert (copy.name, copy.count(), pets.count()) == ("copies", 2, 3)
    status = pets.get_indexing_status()
    assert status.total_ops == status.num_indexed_ops + status.num_unindexed_ops
    assert 0 <= status.op_indexing_progress <= 1


@pytest.mark.parametrize("kind", KINDS[:-1], indirect=True)  # admin clients are not awaited
def test_tenants_and_databases(kind: str, connect: Callable[..., Any], client: Any, errors: Any):
    make_admin = chromadb.AdminClient if kind == "chromadb" else vkb.AdminClient
    admin = make_admin(client.get_settings())
    admin.create_tenant("zoo-keepers")
    assert admin.get_tenant("zoo-keepers") == {"name": "zoo-keepers"}
    admin.create_database("cages", "zoo-keepers")
    admin.create_database("ponds", "zoo-keepers")
    names = [each["name"] for each in admin.list_databases(tenant="zoo-keepers")]
    assert names == ["cages", "ponds"]
    assert admin.get_database("ponds", "zoo-keepers")["tenant"] == "zoo-keepers"
    elsewhere = connect(tenant="zoo-keepers", database="cages")
    elsewhere.create_collection("pets", embedding_function=None)
    assert client.count_collections() == 0
    client.set_tenant("zoo-keepers", "ponds")
    assert client.count_collections() == 0
    client.set_database("cages")
    assert (client.tenant, client.database) == ("zoo-keepers", "cages")
    assert client.count_collections() == 1
    admin.delete_database("ponds", "zoo-keepers")
    for refused in (
        lambda: client.set_database("ponds"),
        lambda: client.set_tenant("nobody"),
        lambda: admin.get_tenant("nobody"),
        lambda: admin.get_database("ponds", "zoo-keepers"),
        lambda: connect(tenant="nobody"),
    ):
        with pytest.raises(errors.NotFoundError):
            refused()
    assert (client.tenant, client.database) == ("zoo-keepers", "cages")


def test_two_clients_share_a_store(connect: Callable[..., Any], client: Any):
    client.create_collection("pets", embedding_function=None).add(ids=["a"], embeddings=[[1, 2]])
    other = connect()
    assert other.get_collection("pets", embedding_function=None).count() == 1
    other.close()
    assert client.get_collection("pets", embedding_function=None).count() == 1


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # chromadb's, of its configuration
def test_numbers_of_numpy_count(client: Any, pets: Any):
    """What Chroma takes: any integer for limit and offset; numpy's numbers in the metadata of a
    collection, in lists of a filter, and in a configuration."""
    client.create_collection("more", embedding_function=None)
    for kind in (np.int64, np.int32, np.uint8):
        assert pets.get(limit=kind(1), offset=kind(1))["ids"] == ["dog"]
        assert pets.peek(kind(2))["ids"] == ["cat", "dog"]
        assert len(client.list_collections(limit=kind(1))) == 1
        assert len(client.list_collections(offset=kind(2))) == 0
    assert pets.get(where={"legs": {"$in": [np.int64(0)]}})["ids"] == ["eel"]
    given = {"i": np.int64(1), "f": np.float32(0.5), "d": np.float64(1.1), "b": np.bool_(True)}
    made = client.create_collection(
        "made",
        metadata={**given, "t": np.str_("x")},
        configuration={"hnsw": {"ef_search": np.int64(50)}},
        embedding_function=None,
    )
    stored = client.get_collection("made", embedding_function=None).metadata
    assert stored == {"i": 1, "f": 0.5, "d": 1.1, "b": True, "t": "x"}
    assert {k: type(v) for k, v in stored.items()} == {
        "i": int, "f": float, "d": float, "b": bool, "t": str
    }  # fmt: skip
    made.modify(configuration={"hnsw": {"ef_search": np.int64(77)}})
    made = client.get_collection("made", embedding_function=None)
    assert made.configuration_json["hnsw"]["ef_search"] == 77


@pytest.mark.parametrize(
    "value", [np.int64(1), np.float32(1), np.bool_(True), np.array([1, 2]), [np.int64(1)]], ids=repr
)
def test_numbers_of_numpy_in_a_record_are_refused_as_in_chroma(pets: Any, value: Any):
    with pytest.raises(ValueError, match="Expected metadata (list )?value"):
        pets.update(ids=["cat"], metadatas=[{"k": value}])
    pets.update(ids=["cat"], metadatas=[{"k": np.float64(1.5)}])  # is a float
    assert pets.get(ids=["cat"])["metadatas"][0]["k"] == 1.5


@pytest.mark.parametrize("value", [-1, np.int64(-1), 1.5, "x", np.bool_(True)], ids=repr)
def test_a_limit_that_is_none(client: Any, pets: Any, errors: Any, value: Any):
    for call in (
        lambda: pets.get(limit=value),
        lambda: pets.get(offset=value),
        lambda: pets.peek(value),
        lambda: client.list_collections(limit=value),
        lambda: client.list_collections(offset=value),
    ):
        with pytest.raises(errors.InvalidArgumentError, match="to be a non-negative integer, got"):
            call()


def test_a_limit_that_is_too_large_means_all(client: Any, pets: Any):
    for value in (2**32, 2**70):
        assert pets.get(limit=value)["ids"] == ["cat", "dog", "eel"]
        assert pets.get(offset=value)["ids"] == []
        assert len(client.list_collections(limit=value)) == 1
        assert pets.query(query_embeddings=[1, 0], n_results=value)["ids"][0][0] == "cat"
        assert pets.delete(where={"legs": 99}, limit=value) == {"deleted": 0}


def test_a_spann_update_is_refused(pets: Any):
    """Chroma's words; what else is in the call does not happen either."""
    for spann in ({"search_nprobe": 5}, {}):
        with pytest.raises(ValueError, match="Trying to update SPANN config but schema has HNSW"):
            pets.modify(configuration={"spann": spann})
    assert pets.configuration_json["spann"] is None


def test_none_in_new_metadata(pets: Any):
    """add() refuses it, as Chroma does; to update() and upsert() it means: without this key."""
    records = {"ids": ["new", "cow"], "embeddings": [[1, 2], [3, 4]]}
    metadatas = [{"a": 1}, {"b": 2, "c": None}]
    with pytest.raises(TypeError, match="metadata key 'c' of record 1, id 'cow'.*None"):
        pets.add(**records, metadatas=metadatas)
    assert pets.count() == 3
    pets.upsert(**records, metadatas=metadatas)
    assert pets.get(ids=["cow"])["metadatas"] == [{"b": 2}]
    pets.update(ids=["cow"], metadatas=[{"b": None}])
    assert pets.get(ids=["cow"])["metadatas"] == [None]


def test_attached_functions_are_refused(kind: str, pets: Any, errors: Any):
    """In the process as by Chroma's own client; a server says what it says."""
    for call, refusal in (
        (lambda: pets.attach_function("record_counter", "n", "out"), "ChromaError"),
        (lambda: pets.get_attached_function("n"), "NotFoundError"),
        (lambda: pets.detach_function("n", delete_output_collection=True), "ChromaError"),
    ):
        if kind == "http":
            with pytest.raises(getattr(errors, refusal)):
                call()
        else:
            with pytest.raises(NotImplementedError, match="only supported when connecting to a"):
                call()


@pytest.mark.parametrize("name", [None, 5, b"pets"], ids=repr)
def test_a_name_that_is_no_text(client: Any, pets: Any, name: Any):
    found = type(name).__name__
    for call in (
        lambda: client.create_collection(name),
        lambda: client.get_or_create_collection(name),
        lambda: client.get_collection(name),
        lambda: client.delete_collection(name),
        lambda: pets.fork(name),
    ):
        with pytest.raises(TypeError, match=f"^[Ee]xpected .*name.* to be a str, got {found}$"):
            call()
    if name is not None:
        with pytest.raises(TypeError, match=f"name.* to be a str, got {found}"):
            pets.modify(name=name)
