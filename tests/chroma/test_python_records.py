# SPDX-License-Identifier: Apache-2.0
"""Chroma's Python interface: the records of a collection, over each backend of conftest.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.api.models.Collection import Collection

from support.animals import DOCUMENTS, IDS, METADATAS, URIS, VECTORS
from support.chroma_clients import Backend, HashEmbedding, refusal

METHODS = {
    "add", "count", "delete", "fork", "fork_count", "get", "get_indexing_status", "modify", "peek",
    "query", "search", "update", "upsert",
}  # fmt: skip
ATTRIBUTES = {
    "configuration", "configuration_json", "database", "get_model", "id", "metadata", "name",
    "schema", "tenant",
}  # fmt: skip
# A feature of Chroma Cloud that no local Chroma has.
FUNCTIONS = {"attach_function", "detach_function", "get_attached_function"}


def assert_vectors(got: Any, wanted: Any) -> None:
    """They are arrays of the same 32-bit floats, in whatever width."""
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got.astype("float32"), np.array(wanted, "float32"))


def test_these_are_all_methods_of_chroma():
    for kind, extra in ((Collection, FUNCTIONS), (AsyncCollection, set())):
        names = {name for name in dir(kind) if name[0] != "_"}
        assert names == METHODS | ATTRIBUTES | extra


def test_get_gives_everything_back_in_the_order_of_insertion(animals: Any):
    everything = animals.get(include=["embeddings", "documents", "metadatas", "uris"])
    assert everything["ids"] == IDS
    assert everything["documents"] == DOCUMENTS
    assert everything["metadatas"] == METADATAS
    assert everything["uris"] == URIS
    assert_vectors(everything["embeddings"], VECTORS)
    assert everything["data"] is None
    assert sorted(everything["included"]) == ["documents", "embeddings", "metadatas", "uris"]


@pytest.mark.parametrize(
    "include", [[], ["documents"], ["metadatas", "uris"], ["embeddings"], None], ids=str
)
def test_get_gives_what_is_included(animals: Any, include: list[str] | None):
    got = animals.get(ids=["bird", "dog"], **({} if include is None else {"include": include}))
    assert got["ids"] == ["dog", "bird"]
    for column in ("embeddings", "documents", "metadatas", "uris"):
        wanted = column in (["documents", "metadatas"] if include is None else include)
        assert (got[column] is not None) == wanted, column
        assert not wanted or len(got[column]) == 2


def test_get_by_id_skips_what_is_not_there(animals: Any):
    assert animals.get(ids=["nope", "fish", "dog"])["ids"] == ["dog", "fish"]
    assert animals.get(ids="fish")["ids"] == ["fish"]
    nothing = animals.get(ids=["nope"], include=["embeddings", "documents"])
    assert nothing["ids"] == [] and nothing["documents"] == []
    assert len(nothing["embeddings"]) == 0


def test_get_page_by_page(animals: Any):
    assert animals.get(limit=2)["ids"] == IDS[:2]
    assert animals.get(limit=2, offset=1)["ids"] == IDS[1:3]
    assert animals.get(offset=3)["ids"] == IDS[3:]
    assert animals.get(limit=5, offset=99)["ids"] == []
    assert animals.get(limit=0)["ids"] == []
    assert animals.get(where={"legs": {"$gte": 0}}, limit=1, offset=1)["ids"] == ["bird"]


def test_count_and_peek(animals: Any):
    assert animals.count() == 4
    few = animals.peek(limit=2)
    assert few["ids"] == IDS[:2]
    assert few["documents"] == DOCUMENTS[:2]
    assert_vectors(few["embeddings"], VECTORS[:2])
    assert animals.peek()["ids"] == IDS


def test_add_ignores_an_id_that_is_there(animals: Any):
    animals.add(ids=["dog", "new"], embeddings=[[9, 9, 9], [1, 1, 1]], documents=["x", "y"])
    got = animals.get(ids=["dog", "new"], include=["documents", "embeddings"])
    assert got["documents"] == [DOCUMENTS[0], "y"]
    assert_vectors(got["embeddings"], [VECTORS[0], [1, 1, 1]])


def test_update_replaces_what_is_given(animals: Any):
    animals.update(
        ids=["dog", "nope"],
        metadatas=[{"legs": 3, "tame": None, "kind": ["now", "a list"]}, {"a": 1}],
    )
    animals.update(ids=["bird"], documents=["changed"], embeddings=[VECTORS[1]])
    animals.update(ids=["none"], embeddings=[[2.0, 3.0, 4.0]], uris=["file:///n"])
    got = animals.get(include=["embeddings", "documents", "metadatas", "uris"])
    assert got["ids"] == IDS
    assert got["documents"] == [DOCUMENTS[0], "changed", *DOCUMENTS[2:]]
    wanted = {**METADATAS[0], "legs": 3, "kind": ["now", "a list"]}
    del wanted["tame"]
    # A record with a uri has metadata, empty as they may be.
    assert got["metadatas"] == [wanted, METADATAS[1], {}, METADATAS[3]]
    assert got["uris"] == [URIS[0], None, "file:///n", URIS[3]]
    assert_vectors(got["embeddings"], [*VECTORS[:2], [2, 3, 4], VECTORS[3]])
    assert animals.get(where={"kind": "mammal"})["ids"] == []
    assert animals.get(where_document={"$contains": "singt"})["ids"] == []
    assert animals.get(where_document={"$contains": "changed"})["ids"] == ["bird"]


def test_upsert_inserts_and_merges(animals: Any):
    animals.upsert(
        ids=["dog", "cat"],
        embeddings=[[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]],
        documents=["older dog", "new cat"],
        metadatas=[{"legs": 3}, {"kind": "mammal"}],
    )
    got = animals.get(include=["embeddings", "documents", "metadatas"])
    assert got["ids"] == [*IDS, "cat"]
    assert got["documents"] == ["older dog", *DOCUMENTS[1:], "new cat"]
    assert got["metadatas"][0] == {**METADATAS[0], "legs": 3}
    assert got["metadatas"][-1] == {"kind": "mammal"}
    assert_vectors(got["embeddings"][0], [0.5, 0.5, 0.5])


def test_delete(animals: Any, backend: Backend):
    assert animals.delete(ids=["dog", "nope"])["deleted"] == 2  # as many as were named
    assert animals.get()["ids"] == ["bird", "none", "fish"]
    assert animals.delete(where={"kind": "fish"})["deleted"] == 1
    assert animals.delete(where={"kind": "fish"})["deleted"] == 0
    assert animals.delete(where_document={"$contains": "V"}, ids=["none"])["deleted"] == 0
    assert animals.delete(where_document={"$contains": "V"}, limit=1)["deleted"] == 1
    assert animals.get()["ids"] == ["none"]
    with pytest.raises((ValueError, backend.errors.InvalidArgumentError), match="limit"):
        animals.delete(ids=["none"], limit=1)
    animals.add(ids=["dog"], embeddings=[[1.0, 0.0, 0.0]])
    assert animals.get()["ids"] == ["none", "dog"]
    assert animals.delete(where={"n": {"$ne": 1}})["deleted"] == 2
    assert animals.count() == 0


def test_query_finds_the_nearest_first(animals: Any):
    hits = animals.query(query_embeddings=[[1.0, 0.1, 0.0], [0.0, 0.0, 2.0]], n_results=3)
    assert hits["ids"][0] == ["dog", "fish", "bird"]
    assert hits["ids"][1][0] == "none"
    assert hits["documents"][0] == [DOCUMENTS[0], DOCUMENTS[3], DOCUMENTS[1]]
    assert hits["metadatas"][1][0] is None
    np.testing.assert_allclose(hits["distances"][0], [0.01, 0.65, 1.81], rtol=1e-5)
    assert hits["embeddings"] is None and hits["uris"] is None
    # One flat vector is a query of one.
    assert animals.query(query_embeddings=[0.0, 1.0, 0.0], n_results=1)["ids"] == [["bird"]]
    array = np.array([[0.0, 1.0, 0.0]], "float32")
    assert animals.query(query_embeddings=array, n_results=1)["ids"] == [["bird"]]
    assert [len(each) for each in animals.query(query_embeddings=[[0, 0, 0]])["ids"]] == [4]


@pytest.mark.parametrize(
    "include", [[], ["distances"], ["embeddings", "uris"], ["documents", "metadatas"]], ids=str
)
def test_query_gives_what_is_included(animals: Any, include: list[str]):
    hits = animals.query(query_embeddings=[[1.0, 0.0, 0.0]], n_results=2, include=include)
    assert hits["ids"] == [["dog", "fish"]]
    for column in ("embeddings", "documents", "metadatas", "uris", "distances"):
        assert (hits[column] is not None) == (column in include), column
    if "embeddings" in include:
        np.testing.assert_allclose(hits["embeddings"][0], [VECTORS[0], VECTORS[3]], rtol=1e-6)
        assert hits["uris"] == [[URIS[0], URIS[3]]]


@pytest.mark.parametrize(
    ("space", "distances"),
    [
        ("l2", {"a": 1.0, "b": 5.0, "zero": 4.0}),
        ("ip", {"a": -1.0, "b": 1.0, "zero": 1.0}),
        ("cosine", {"a": 1 - 2 / (2 * math.sqrt(2)), "b": 1.0, "zero": 1.0}),
    ],
)
def test_distances(client: Any, space: str, distances: dict[str, float]):
    made = client.create_collection(
        "things", configuration={"hnsw": {"space": space}}, embedding_function=None
    )
    made.add(ids=["a", "b", "zero"], embeddings=[[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    made.update(ids=["a"], embeddings=[[1.0, 1.0]])
    hits = made.query(query_embeddings=[[2.0, 0.0]], include=["distances"])
    expected = {"a": {"l2": 2.0}.get(space, distances["a"]), "b": distances["b"]}
    got = dict(zip(hits["ids"][0], hits["distances"][0]))
    assert got == pytest.approx({**expected, "zero": distances["zero"]}, abs=1e-6)


def test_query_with_ids_and_filters(animals: Any, backend: Backend):
    near = {"query_embeddings": [[1.0, 0.0, 0.0]], "include": []}
    assert animals.query(**near, ids=["bird", "none"])["ids"][0][0] in ("bird", "none")
    assert animals.query(**near, where={"legs": {"$lt": 4}})["ids"] == [["fish", "bird"]]
    assert animals.query(**near, where_document={"$contains": "i"}, n_results=1)["ids"] == [
        ["fish"]
    ]
    both = {"where": {"tame": False}, "where_document": {"$regex": "鳥$"}}
    assert animals.query(**near, **both)["ids"] == [["bird"]]
    assert animals.query(**near, where={"legs": 77})["ids"] == [[]]
    assert animals.query(**near, ids=["nope", "dog"], where={"legs": 4})["ids"] == [["dog"]]
    with refusal(backend, "InternalError", "Error finding id"):
        animals.query(**near, ids=["nope"])


def test_a_collection_that_was_never_written(collection: Any):
    hits = collection.query(query_embeddings=[[1.0, 2.0], [3.0, 4.0]])
    assert hits["ids"] == [[], []]
    assert collection.get()["ids"] == []
    assert collection.count() == 0


def test_ids_are_any_text(collection: Any):
    ids = ["é", "e\u0301", "鳥", "😀", " ", "a b", "a/b?c=d&e#f", "'; DROP TABLE x;--", '"', "\\"]
    ids += ["\n\t", "\u0000", "x" * 5000, "NULL", "0", "-0", "A", "a"]
    collection.add(ids=ids, embeddings=[[float(n)] for n in range(len(ids))], documents=ids)
    got = collection.get(include=["documents"])
    assert got["ids"] == ids
    assert got["documents"] == ids
    for each in ids:
        assert collection.get(ids=[each])["ids"] == [each]
    collection.delete(ids=ids[:-1])
    assert collection.get()["ids"] == ["a"]


@pytest.mark.parametrize(
    "value", [0, -1, 2**63 - 1, -(2**63), 0.1, -2.0, 1e300, 5e-324, "", "é", False]
)
def test_metadata_values_keep_type_and_value(collection: Any, value: Any):
    collection.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"key": value, "other": 1}])
    got = collection.get()["metadatas"][0]["key"]
    assert (type(got), got) == (type(value), value)
    assert collection.get(where={"key": value})["ids"] == ["a"]


@pytest.mark.parametrize("values", [["x", "é"], [1, -5], [0.5, 2.0], [True, False]], ids=str)
def test_metadata_lists_keep_type_and_order(collection: Any, values: list):
    collection.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"key": values}])
    got = collection.get()["metadatas"][0]["key"]
    assert got == values and [type(v) for v in got] == [type(v) for v in values]
    for value in values:
        assert collection.get(where={"key": {"$contains": value}})["ids"] == ["a"]
        assert collection.get(where={"key": {"$not_contains": value}})["ids"] == []


def test_numpy_arrays_and_lists_are_the_same(collection: Any):
    collection.add(ids=["a"], embeddings=np.array([[1, 2]], "int32"))
    collection.add(ids=["b"], embeddings=[np.array([1.5, 2.5], "float32")])
    collection.add(ids=["c"], embeddings=np.array([[0.1, 0.2]], "float64"))
    collection.add(ids="d", embeddings=[3, 4])
    got = collection.get(include=["embeddings"])["embeddings"]
    assert_vectors(got, [[1, 2], [1.5, 2.5], [0.1, 0.2], [3, 4]])


def test_the_largest_batch(client: Any, collection: Any, backend: Backend):
    count, dim = 5461, 768
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((count, dim), "float32")
    ids = [f"id-{n}" for n in range(count)]
    collection.add(ids=ids, embeddings=vectors, metadatas=[{"n": n} for n in range(count)])
    assert collection.count() == count
    got = collection.get(where={"n": {"$gte": count - 3}}, include=["embeddings"])
    assert got["ids"] == ids[-3:]
    assert_vectors(got["embeddings"], vectors[-3:])
    hits = collection.query(query_embeddings=vectors[[0, 4000]], n_results=1)
    assert hits["ids"] == [["id-0"], ["id-4000"]]
    if backend.over_http:
        too_many = [*ids, "one more"]
        with pytest.raises(ValueError, match="Batch size 5462 .*exceeds maximum batch size 5461"):
            collection.upsert(ids=too_many, embeddings=np.zeros((count + 1, 2), "float32"))


def test_documents_are_embedded_by_the_collections_function(client: Any):
    made = client.create_collection("embedded", embedding_function=HashEmbedding())
    made.add(ids=["a", "b", "c"], documents=["red apple pie", "blue sky", "green grass"])
    hits = made.query(query_texts=["sky is blue", "apple"], n_results=1)
    assert hits["ids"] == [["b"], ["a"]]
    assert hits["documents"] == [["blue sky"], ["red apple pie"]]


def test_indexing_status(animals: Any, backend: Backend):
    if backend.engine == "chroma":
        with refusal(backend, "InternalError", "not implemented"):
            animals.get_indexing_status()
        return
    status = animals.get_indexing_status()
    assert status.total_ops == status.num_indexed_ops + status.num_unindexed_ops
    assert 0 <= status.op_indexing_progress <= 1


def test_fork_is_a_copy(animals: Any, client: Any, backend: Backend):
    if backend.engine == "chroma":
        with refusal(backend, "ChromaError", "forking is unsupported"):
            animals.fork(new_name="copy")
        return
    copy = animals.fork(new_name="copy")
    copy.delete(ids=["dog"])
    animals.add(ids=["new"], embeddings=[[1.0, 1.0, 1.0]])
    assert copy.get()["ids"] == IDS[1:]
    assert animals.get()["ids"] == [*IDS, "new"]
    again = client.get_collection("copy", embedding_function=None)
    assert again.get(where={"kind": "bird"})["documents"] == [DOCUMENTS[1]]
    with refusal(backend, "ChromaError", "already exists"):
        animals.fork(new_name="copy")


def test_search_ranks_by_distance(animals: Any, backend: Backend):
    from chromadb import K, Knn, Search

    search = (
        Search()
        .where(K("legs") >= 0)
        .rank(Knn(query=[1.0, 0.0, 0.0], limit=10))
        .limit(2)
        .select(K.DOCUMENT, K.SCORE, "kind")
    )
    if backend.engine == "chroma":
        with refusal(backend, "ChromaError", "Search operation is not implemented"):
            animals.search(search)
        return
    found = animals.search([search, Search().limit(1)])
    assert found["ids"] == [["dog", "fish"], ["dog"]]
    assert found["documents"][0] == [DOCUMENTS[0], DOCUMENTS[3]]
    assert found["metadatas"][0] == [{"kind": "mammal"}, {"kind": "fish"}]
    np.testing.assert_allclose(found["scores"][0], [0.0, 0.8], atol=1e-6)


def test_two_clients_see_each_others_writes(animals: Any, backend: Backend):
    other = backend.connect().get_collection("things", embedding_function=None)
    other.add(ids=["from other"], embeddings=[[1.0, 1.0, 1.0]])
    assert animals.count() == 5
    animals.delete(ids=["from other"])
    assert other.get(ids=["from other"])["ids"] == []
