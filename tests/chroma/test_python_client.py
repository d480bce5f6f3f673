# SPDX-License-Identifier: Apache-2.0
"""Chroma's Python interface, method by method, over each backend of conftest.py: clients, tenants
and databases, and what a collection is (name, metadata, configuration, schema, embedding function).
test_python_records.py has the records, test_python_filters.py the filters."""

from __future__ import annotations

import time
import uuid
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api.async_client import AsyncAdminClient, AsyncClient
from chromadb.api.client import AdminClient, Client

from support.chroma_clients import Backend, HashEmbedding, refusal

CLIENT_METHODS = {
    "close", "count_collections", "create_collection", "delete_collection", "get_collection",
    "get_collection_by_id", "get_max_batch_size", "get_or_create_collection", "get_settings",
    "get_user_identity", "get_version", "heartbeat", "list_collections", "reset", "set_database",
    "set_tenant",
}  # fmt: skip
ADMIN_METHODS = {
    "create_database", "create_tenant", "delete_database", "get_database", "get_tenant",
    "list_databases",
}  # fmt: skip
# Of the object itself, not of the store.
HOUSEKEEPING = {
    "clear_system_cache", "create", "database", "from_system", "from_system_async",
    "get_chroma_cloud_api_key_from_clients", "tenant",
}  # fmt: skip


def unused(text: str = "") -> str:
    return f"{text}{uuid.uuid4().hex}"


def test_these_are_all_methods_of_chroma():
    """What this file has to cover; a newer Chroma may add to it."""
    for kind, known in (
        (Client, CLIENT_METHODS),
        (AsyncClient, CLIENT_METHODS - {"close"}),
        (AdminClient, ADMIN_METHODS),
        (AsyncAdminClient, ADMIN_METHODS),
    ):
        assert {name for name in dir(kind) if name[0] != "_"} - HOUSEKEEPING == known


def test_the_server_about_itself(client: Any, backend: Backend):
    before = time.time_ns()
    assert isinstance(client.heartbeat(), int)
    assert abs(client.heartbeat() - before) < 3600 * 10**9
    assert client.get_version().count(".") == 2
    assert client.get_max_batch_size() >= 5461
    if backend.over_http:
        assert client.get_max_batch_size() == 5461
    assert client.get_settings() is not None
    identity = client.get_user_identity()
    assert identity.user_id == ""
    assert identity.tenant == "default_tenant"
    assert identity.databases == ["default_database"]


def test_a_client_of_a_server_that_is_not_there():
    with pytest.raises(ValueError, match="Could not connect to a Chroma server"):
        chromadb.HttpClient(host="127.0.0.1", port=1)


def test_closing_a_client(backend: Backend):
    other = backend.connect()
    other.create_collection(unused("name"), embedding_function=None)
    if not backend.name.endswith("async"):  # AsyncHttpClient has no close()
        other.close()
    assert backend.connect().heartbeat() > 0


def test_reset_empties_everything(client: Any, admin: Any):
    client.create_collection("things", embedding_function=None)
    admin.create_tenant("tenant_to_go")
    assert client.reset() is True
    assert client.count_collections() == 0
    with pytest.raises(Exception, match="tenant_to_go"):
        admin.get_tenant("tenant_to_go")


def test_tenants(admin: Any, backend: Backend):
    admin.create_tenant("tenant_1")
    assert admin.get_tenant("tenant_1")["name"] == "tenant_1"
    with refusal(backend, "ChromaError", r"Tenant \[tenant_1\] already exists"):
        admin.create_tenant("tenant_1")
    with refusal(backend, "NotFoundError", r"Tenant \[nope\] not found"):
        admin.get_tenant("nope")
    with pytest.raises(Exception, match="[Tt]enant name|Validation error: name"):
        admin.create_tenant("ab")


def test_databases(admin: Any, client: Any, backend: Backend):
    assert admin.get_database("default_database")["tenant"] == "default_tenant"
    for name in ("zebra", "apple", "mango"):
        admin.create_database(name)
    made = admin.get_database("apple")
    assert (made["name"], made["tenant"]) == ("apple", "default_tenant")
    assert uuid.UUID(str(made["id"])).int > 0
    with refusal(backend, "ChromaError", r"Database \[apple\] already exists"):
        admin.create_database("apple")
    with refusal(backend, "NotFoundError", r"Database \[nope\] not found"):
        admin.get_database("nope")
    names = [each["name"] for each in admin.list_databases()]
    assert names == ["apple", "default_database", "mango", "zebra"]
    assert [d["name"] for d in admin.list_databases(limit=2, offset=1)] == names[1:3]
    assert list(admin.list_databases(tenant="nobody")) == []
    admin.delete_database("apple")
    with refusal(backend, "NotFoundError", r"Database \[apple\] not found"):
        admin.delete_database("apple")
    for bad in ("a b c", "1.2.3.4", "x..y"):
        with refusal(backend, "InvalidArgumentError", "Expected a name"):
            admin.create_database(bad)


def test_a_collection_belongs_to_its_database(admin: Any, client: Any, backend: Backend):
    admin.create_tenant("tenant_1")
    admin.create_database("database_1", "tenant_1")
    there = backend.connect(tenant="tenant_1", database="database_1")
    here = client.create_collection("things", embedding_function=None)
    elsewhere = there.create_collection("things", embedding_function=None)
    assert here.id != elsewhere.id
    assert (elsewhere.tenant, elsewhere.database) == ("tenant_1", "database_1")
    elsewhere.add(ids=["a"], embeddings=[[1.0]])
    assert (here.count(), elsewhere.count()) == (0, 1)
    with refusal(backend, "NotFoundError", "does not exist"):
        client.get_collection_by_id(elsewhere.id)
    client.set_tenant("tenant_1", "database_1")
    assert client.get_collection("things", embedding_function=None).id == elsewhere.id
    client.set_tenant("default_tenant")
    client.set_database("default_database")
    assert client.get_collection("things", embedding_function=None).id == here.id
    admin.delete_database("database_1", "tenant_1")
    with refusal(backend, "NotFoundError", "does not exist"):
        elsewhere.count()
    assert here.count() == 0


@pytest.mark.parametrize("place", [{"tenant": "nope"}, {"database": "nope_db"}])
def test_a_client_of_a_place_that_is_not_there(client: Any, backend: Backend, place: dict):
    with pytest.raises(Exception, match="not found|Could not connect to (tenant|database)"):
        backend.connect(**place)


def test_creating_getting_and_deleting_collections(client: Any, backend: Backend):
    made = client.create_collection("things", metadata={"a": 1, "b": "é😀", "c": 2.0, "d": True})
    assert isinstance(made.id, uuid.UUID)
    assert made.name == "things"
    assert made.metadata == {"a": 1, "b": "é😀", "c": 2.0, "d": True}
    assert (made.tenant, made.database) == ("default_tenant", "default_database")
    found = client.get_collection("things")
    assert (found.id, found.name, found.metadata) == (made.id, made.name, made.metadata)
    assert client.get_collection_by_id(made.id).name == "things"
    with refusal(backend, "ChromaError", r"Collection \[things\] already exists"):
        client.create_collection("things")
    same = client.create_collection("things", metadata={"z": 9}, get_or_create=True)
    assert (same.id, same.metadata) == (made.id, made.metadata)
    assert client.get_or_create_collection("things").id == made.id
    assert client.get_or_create_collection("others").id != made.id
    assert client.count_collections() == 2
    client.delete_collection("things")
    for missing in (client.get_collection, client.delete_collection):
        with refusal(backend, "NotFoundError", r"Collection \[things\] does not exist"):
            missing("things")
    with refusal(backend, "NotFoundError", "does not exist"):
        client.get_collection_by_id(made.id)
    with refusal(backend, "NotFoundError", "does not exist"):
        made.count()
    with refusal(backend, "NotFoundError", "does not exist"):
        made.add(ids=["a"], embeddings=[[1.0]])


@pytest.mark.parametrize(
    "name", ["ab", "a b c", "-abc", "abc_", "1.2.3.4", "x..y", "a" * 513, "", "é" * 4]
)
def test_names_that_a_collection_cannot_have(client: Any, name: str):
    with pytest.raises(Exception, match="[Ee]xpected.* name|Expected a name"):
        client.create_collection(name, embedding_function=None)
    assert client.count_collections() == 0


@pytest.mark.parametrize("name", ["abc", "a" * 512, "A.b-c_9", "1.2.3", str(uuid.UUID(int=7))])
def test_names_that_a_collection_can_have(client: Any, name: str):
    made = client.create_collection(name, embedding_function=None)
    assert client.get_collection(name).id == made.id


def test_listing_collections_page_by_page(client: Any):
    made = {client.create_collection(f"thing-{n}", embedding_function=None).id for n in range(7)}
    everything = list(client.list_collections())
    assert {each.id for each in everything} == made
    assert [c.id for c in everything] == sorted(made)
    pages = [list(client.list_collections(limit=3, offset=start)) for start in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [each.id for page in pages for each in page] == [each.id for each in everything]
    assert list(client.list_collections(limit=0)) == []
    assert client.count_collections() == 7


def test_renaming_and_new_metadata(client: Any, backend: Backend):
    made = client.create_collection("things", metadata={"a": 1}, embedding_function=None)
    made.modify(name="renamed")
    assert made.name == "renamed"
    assert client.get_collection("renamed", embedding_function=None).id == made.id
    with refusal(backend, "NotFoundError", "does not exist"):
        client.get_collection("things")
    made.modify(metadata={"b": 2})
    assert client.get_collection("renamed", embedding_function=None).metadata == {"b": 2}
    client.create_collection("other", embedding_function=None)
    with refusal(backend, "ChromaError", "already exists|UNIQUE constraint"):
        made.modify(name="other")
    with pytest.raises(Exception, match="Expected a name"):
        made.modify(name="x")
    with pytest.raises(ValueError, match="distance function"):
        made.modify(metadata={"hnsw:space": "ip"})
    client.delete_collection("renamed")
    with refusal(backend, "NotFoundError", "does not exist"):
        made.modify(name="again")


def test_metadata_that_a_collection_cannot_have(client: Any, backend: Backend):
    for bad in ({}, {"a": None}, {"a": {"b": 1}}, {1: 2}, "text"):
        with pytest.raises((ValueError, TypeError, backend.errors.ChromaError)):
            client.create_collection("things", metadata=bad, embedding_function=None)
    assert client.count_collections() == 0


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_configuration_is_kept(client: Any, space: str):
    hnsw = {
        "space": space, "ef_construction": 123, "ef_search": 45, "max_neighbors": 17,
        "resize_factor": 1.5, "sync_threshold": 500, "batch_size": 90, "num_threads": 3,
    }  # fmt: skip
    made = client.create_collection("things", configuration={"hnsw": hnsw}, embedding_function=None)
    for each in (made, client.get_collection("things", embedding_function=None)):
        answered = each.configuration_json["hnsw"]
        echoed = {key: hnsw[key] for key in answered}
        assert answered == echoed
        assert set(hnsw) - set(answered) == {"batch_size", "num_threads"}
        assert each.configuration["hnsw"]["space"] == space


def test_configuration_by_default(client: Any):
    made = client.create_collection("things", embedding_function=None)
    assert made.configuration_json == {
        "hnsw": {
            "space": "l2", "ef_construction": 100, "ef_search": 100, "max_neighbors": 16,
            "resize_factor": 1.2, "sync_threshold": 1000,
        },
        "spann": None,
        "embedding_function": None,
    }  # fmt: skip


def test_the_old_way_to_configure_is_metadata(client: Any, backend: Backend):
    made = client.create_collection(
        "things", metadata={"hnsw:space": "cosine", "hnsw:M": 7}, embedding_function=None
    )
    assert made.configuration_json["hnsw"]["space"] == "cosine"
    assert made.configuration_json["hnsw"]["max_neighbors"] == 7
    assert made.metadata == {"hnsw:space": "cosine", "hnsw:M": 7}
    with refusal(backend, "InvalidArgumentError", "Failed to parse hnsw parameters"):
        client.create_collection("other", metadata={"hnsw:foo": 1}, embedding_function=None)


def test_configuration_can_be_modified(client: Any):
    made = client.create_collection("things", embedding_function=None)
    made.modify(configuration={"hnsw": {"ef_search": 33, "num_threads": 2}})
    for each in (made, client.get_collection("things", embedding_function=None)):
        assert each.configuration_json["hnsw"]["ef_search"] == 33
        assert each.configuration_json["hnsw"]["space"] == "l2"


@pytest.mark.parametrize(
    "configuration",
    [
        {"hnsw": {"space": "nope"}}, {"hnsw": {"ef_search": "many"}}, 
        {"hnsw": {"ef_construction": -1}}, {"hnsw": {}, "spann": {}},
    ],
)  # fmt: skip
def test_configurations_that_are_refused(client: Any, backend: Backend, configuration: dict):
    with pytest.raises((ValueError, TypeError, backend.errors.ChromaError)):
        client.create_collection("things", configuration=configuration, embedding_function=None)
    assert client.count_collections() == 0


def test_a_schema_is_answered_and_kept(client: Any):
    made = client.create_collection("things", embedding_function=None)
    made.add(ids=["a"], embeddings=[[1.0, 2.0]], metadatas=[{"word": "x", "count": 1}])
    schema = client.get_collection("things", embedding_function=None).schema
    assert schema is not None
    assert {"#embedding", "#document", "word", "count"} <= set(schema.keys)
    assert schema.keys["#document"].string.fts_index.enabled
    assert not schema.defaults.string.fts_index.enabled


def test_a_schema_given_by_the_user(client: Any, backend: Backend):
    schema = chromadb.Schema().delete_index(config=chromadb.StringInvertedIndexConfig(), key="raw")
    schema.create_index(config=chromadb.VectorIndexConfig(space="cosine"))
    made = client.create_collection("things", schema=schema, embedding_function=None)
    assert made.configuration_json["hnsw"]["space"] == "cosine"
    made.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"raw": "x", "word": "x"}])
    again = client.get_collection("things", embedding_function=None)
    assert not again.schema.keys["raw"].string.string_inverted_index.enabled
    assert again.get(where={"word": "x"})["ids"] == ["a"]
    with refusal(backend, "InvalidArgumentError", "metadata key 'raw' .*indexing is disabled"):
        again.get(where={"raw": "x"})


def test_an_embedding_function_is_kept_with_the_collection(client: Any):
    made = client.create_collection("things", embedding_function=HashEmbedding(16))
    kept = made.configuration_json["embedding_function"]
    assert kept == {"type": "known", "name": "vkb_test_hash", "config": {"dim": 16}}
    made.add(ids=["a", "b"], documents=["red apple", "blue sky"])
    again = client.get_collection("things")  # nothing said: it is built from what was kept
    hits = again.query(query_texts=["an apple"], n_results=1)
    assert hits["ids"] == [["a"]]
    stored = again.get(ids=["a"], include=["embeddings"])["embeddings"]
    np.testing.assert_allclose(stored, HashEmbedding(16)(["red apple"]), rtol=1e-6)
    again.update(ids=["b"], documents=["green apple"])
    changed = again.get(ids=["b"], include=["embeddings"])["embeddings"]
    np.testing.assert_allclose(changed, HashEmbedding(16)(["green apple"]), rtol=1e-6)
    again.upsert(ids=["c"], documents=["apple"])
    assert set(again.query(query_texts="apple", n_results=3)["ids"][0]) == {"a", "b", "c"}


class OtherEmbedding(HashEmbedding):
    @staticmethod
    def name() -> str:
        return "vkb_test_other"


def test_another_embedding_function_is_a_conflict(client: Any):
    client.create_collection("things", embedding_function=HashEmbedding(16))
    with pytest.raises(ValueError, match="[Ee]mbedding function"):
        client.get_collection("things", embedding_function=OtherEmbedding())
