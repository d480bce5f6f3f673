# SPDX-License-Identifier: Apache-2.0
"""Making, finding, changing and counting collections."""

# fmt: off
from __future__ import annotations

import re

from support.wire_rows import (
    DROPPED, NAME_RULE, NO_UUID, NOT_A_UUID, OTHER, Expected, Row, bad, missing, no_collection,
    ok, query_string, rows, shape, unparsable,
)

COLLECTIONS = "{D}/collections"
NOWHERE = "/api/v2/tenants/nope/databases/nope/collections"
HNSW = {
    "space": "l2", "ef_construction": 100, "ef_search": 100, "max_neighbors": 16,
    "resize_factor": 1.2, "sync_threshold": 1000,
}


def configured(embedding_function: object = None, **hnsw: object) -> Expected:
    """The collection whose configuration is the default one with these values."""
    wanted = {"hnsw": {**HNSW, **hnsw}, "spann": None, "embedding_function": embedding_function}
    return ok(lambda body: body["configuration_json"] == wanted)


def with_metadata(metadata: object) -> Expected:
    return ok(lambda body: body["metadata"] == metadata)


def create(*fields_and_expected: tuple) -> list[Row]:
    return rows("POST", COLLECTIONS,
                *(({"name": "{new}", **case[0]}, *case[1:]) for case in fields_and_expected))


def schema_of(key: str, value_type: str, index: str) -> dict:
    index_config = {index: {"enabled": True, "config": {}}}
    return {"schema": {"defaults": {}, "keys": {key: {value_type: index_config}}}}


KNOWN = {"type": "known", "name": "x", "config": {"b": [1, {"a": None, "é": 1.5}]}}
TWO_INDEXES = bad("Multiple vector index configurations provided")
LEGACY = bad("Failed to parse hnsw parameters from segment metadata")
CREATE = [
    *rows(
        "POST", COLLECTIONS,
        *(({"name": name}, bad("Validation error: name: " + NAME_RULE + name))
          for name in ("ab", "a b c", "-ab", "a" * 513)),
        ({"name": "1.2.3.4"}, bad(
            "Validation error: name: Expected a name that is not a valid ip address. Got 1.2.3.4")),
        ({"name": "x..y"}, bad(
            "Validation error: name: Expected a name that does not contains two consecutive "
            "periods (..). Got x..y")),
        ({"name": "{name}"}, Expected(409, OTHER, "Collection [{name}] already exists")),
        ({"name": "{name}", "get_or_create": True, "metadata": {"a": 1}},
         ok(lambda body: body["metadata"] is None and body["dimension"] == 2)),
        ({}, shape("missing field `name`")),
        ({"name": 5}, shape("name")),
        (b"", unparsable()), (b"{", unparsable()), (b'{"name":"abcd"} x', unparsable()),
        (b'{"name":"\xff\xfe aaa"}', unparsable()), (b'{"name":"\\ud800aaa"}', unparsable()),
        (b'{"name":"a\tbc"}', unparsable()),
        *((b'{"name":"aaa","metadata":' + value + b"}", unparsable())
          for value in (b"nope", b"nullx", b'{"a":01}', b'{"a":-01}', b'{"a":1.}', b'{"a":}')),
        *((b'{"name":"aaa","unknown":' + value + b"}", unparsable())
          for value in (b"nope", b"01", b"[1,,2]", b'{"a"}', b'"\\x"', b"+1", b"]", b"tr", b"1e",
                        b"-", b".5", b"5.", b"", b"{}}", b'{"a"::1}')),
        *((body, unparsable()) for body in (b"nojson", b"nul", b"n", b"t", b"tru", b"f", b"[")),
        (b'{"name":"a","metadata":{"a":NaN}}', unparsable()),
        (b'{"name":"a","metadata":{"a":1e999}}', unparsable()),
        (b"null", shape("invalid type")), (b'"x"', shape("invalid type")),
        (b'{"name":"abc-1","name":"abc-2"}', shape("duplicate field `name`")),
        (b'{"name":"abc-1","schema":null,"schema":null}', shape("duplicate field `schema`")),
    ),
    *create(
        ({}, configured()),
        ({"zz": 1}, configured()),
        ({"metadata": {}}, bad("Validation error: metadata: Metadata cannot be empty")),
        ({"metadata": {"a": None}}, shape("metadata.a")),
        ({"metadata": {"a": {}}}, shape("metadata.a")),
        ({"metadata": {"a": [1]}}, ok(status=DROPPED),
         with_metadata({"a": [1]}), "the real server's thread panics"),
        ({"metadata": 5}, shape("metadata")),
        ({"metadata": {"#a": 1}},
         bad("Validation error: metadata: Metadata key cannot start with '#' or '$': #a")),
        ({"metadata": {"$a": 1}},
         bad("Validation error: metadata: Metadata key cannot start with '#' or '$': $a")),
        ({"metadata": {"": 1}}, bad("Validation error: metadata: Metadata key cannot be empty")),
        ({"metadata": {"s": "é😀", "i": -(2**63), "f": 2.0, "b": True, "t": 0.1}},
         with_metadata({"s": "é😀", "i": -(2**63), "f": 2.0, "b": True, "t": 0.1})),
        ({"metadata": {"a": 2**63, "b": 2**64}}, with_metadata({"a": 2.0**63, "b": 2.0**64})),
        ({"configuration": {}}, configured()),
        ({"configuration": {"zz": 1}}, configured()),
        ({"configuration": None}, configured()),
        ({"configuration": {"hnsw": {"space": "cosine", "ef_search": 7}}},
         configured(space="cosine", ef_search=7)),
        ({"configuration": {"hnsw": {"batch_size": 1, "num_threads": 3}}}, configured()),
        ({"configuration": {"spann": {"space": "ip", "ef_search": 9}}}, configured(space="ip")),
        ({"configuration": {"hnsw": {}, "spann": {}}}, TWO_INDEXES),
        ({"configuration": {"hnsw": {"zz": 1}}}, shape("configuration.hnsw.zz")),
        ({"configuration": {"spann": {"zz": 1}}}, shape("configuration.spann.zz")),
        ({"configuration": {"hnsw": {"space": "zz"}}}, shape("configuration.hnsw.space")),
        ({"configuration": {"hnsw": {"ef_construction": -1}}},
         shape("configuration.hnsw.ef_construction")),
        ({"configuration": {"hnsw": {"ef_search": 1.5}}}, shape("configuration.hnsw.ef_search")),
        ({"configuration": 5}, shape("configuration")),
        ({"configuration": {"embedding_function": KNOWN}}, configured(KNOWN)),
        ({"configuration": {"embedding_function": {"type": "legacy"}}},
         configured({"type": "legacy"})),
        ({"configuration": {"embedding_function": {"type": "zz"}}},
         shape("configuration.embedding_function.type")),
        ({"configuration": {"embedding_function": {"type": "known"}}},
         shape("configuration.embedding_function")),
        ({"metadata": {"hnsw:space": "cosine", "hnsw:M": 7}},
         configured(space="cosine", max_neighbors=7)),
        ({"metadata": {"hnsw:space": "cosine"}, "configuration": {"hnsw": {"space": "l2"}}},
         configured(space="cosine")),
        ({"metadata": {"hnsw:space": "cosine"}, "configuration": {"hnsw": {"ef_search": 44}}},
         configured(ef_search=44)),
        ({"metadata": {"hnsw:space": "zz"}}, LEGACY),
        ({"metadata": {"hnsw:foo": "zz"}}, LEGACY),
        ({"metadata": {"hnsw:batch_size": 1}}, LEGACY),
        ({"metadata": {"hnsw:sync_threshold": "x"}}, LEGACY),
        ({"get_or_create": 5}, shape("get_or_create")),
        ({"schema": {}}, shape("schema: missing field `defaults`")),
        ({"schema": {"defaults": {}, "keys": {}}}, configured()),
        ({"schema": {"defaults": {}, "keys": {}}, "configuration": {"hnsw": {"space": "ip"}}},
         configured(space="ip")),
        (schema_of("#x", "string", "fts_index"), bad(
            "Validation error: schema: key cannot begin with '#'. Keys starting with '#' are "
            "reserved for system use: #x")),
        (schema_of("k", "float_list", "vector_index"), bad(
            "Validation error: schema: Vector index can only be enabled on #embedding field: k")),
        (schema_of("k", "string", "fts_index"), bad(
            "Validation error: schema: Full text search / regular expression index can only be "
            "enabled on #document field: k")),
        (schema_of("#document", "string", "string_inverted_index"), bad(
            "Validation error: schema: String inverted index can not be enabled on #document key: "
            "#document")),
        *(({"schema": {"defaults": {}, "keys": {"#x": {}}, "source_attached_function_id": value}},
           bad("Validation error: schema: Cannot set source_attached_function_id. This field is "
               "reserved for system use.")) for value in ("", "x", NO_UUID)),
        ({"schema": {"defaults": {}, "keys": {}, "source_attached_function_id": 5}},
         shape("schema.source_attached_function_id")),
        ({"schema": {"defaults": {}, "keys": {}, "source_attached_function_id": None}},
         configured()),
        (schema_of("k", "sparse_vector", "sparse_vector_index"), bad(
            "Failed to reconcile schema: Invalid schema input: Sparse vector indexing is not "
            "enabled in local")),
        ({"schema": {"defaults": {}, "keys": {"#embedding": {"float_list": {"vector_index": {
            "enabled": True, "config": {"space": "cosine"}}}}}},
          "configuration": {"hnsw": {"space": "ip"}}}, bad(
            "Failed to reconcile schema: Cannot set both collection config and schema "
            "simultaneously")),
    ),
    *rows("POST", NOWHERE, ({"name": "abc"}, bad("Database [nope] does not exist"))),
    *(
        Row("POST", COLLECTIONS, {"name": "{new}"}, expected, headers={"Content-Type": kind})
        for kind, expected in (
            ("application/json; charset=utf-8", ok()),
            ("application/vnd.x+json", ok()),
            ("text/plain", Expected(
                415, OTHER, "Expected request with `Content-Type: application/json`")),
            ("application/x-www-form-urlencoded", Expected(
                415, OTHER, "Expected request with `Content-Type: application/json`")),
        )
    ),
]

COLLECTION = [
    *rows("GET", NOWHERE, (None, ok([]))),
    *rows("GET", "/api/v2/tenants/nope/databases/nope/collections_count", (None, ok(0))),
    *rows("GET", NOWHERE + "/abc", (None, missing("Collection [abc] does not exist"))),
    *rows("DELETE", NOWHERE + "/abc", (None, missing("Collection [abc] does not exist"))),
    *rows("GET", "{D}/collections?limit=0", (None, ok([]))),
    *rows("GET", "{D}/collections?offset=4294967295", (None, ok([]))),
    *rows("GET", "{D}/collections?limit=-1", (None, query_string("limit: "))),
    *rows("GET", "{D}/collections?offset=x&zz=1", (None, query_string("offset: "))),
    *rows("GET", "{D}/collections/{id}", (None, missing("Collection [{id}] does not exist"))),
    *rows("DELETE", "{D}/collections/{id}", (None, missing("Collection [{id}] does not exist"))),
    *rows("GET", "{D}/collections/{name}", (None, ok(lambda body: body["dimension"] == 2))),
    *rows("GET", "{D}/collections/%61bc-nope",
          (None, missing("Collection [abc-nope] does not exist"))),
    *rows("GET", "{D}/collections/a%2Fb", (None, missing("Collection [a/b] does not exist"))),
    *rows("GET", "{D}/collections/%2e%2e", (None, missing("Collection [..] does not exist"))),
    *rows("GET", "{D}/collections/%00", (None, missing("Collection [\0] does not exist"),
                                         bad(re.compile("Invalid URL: .+")), "no name has a NUL")),
    *rows("GET", "{D}/collections/%zz", (None, missing("Collection [%zz] does not exist"),
                                         bad(re.compile("Invalid URL: .+")), "that is no escape")),
    *rows("GET", "{D}/collections/%ff", (None, bad(re.compile("Invalid URL: .*UTF-8.*")))),
    *rows("GET", "{D}/collections/by-id/{id}", (None, ok(lambda b: b["log_position"] == 0))),
    *rows("GET", "{D}/collections/by-id/{ID}", (None, ok(lambda b: b["version"] == 0))),
    *rows("GET", "{D}/collections/by-id/{hex}", (None, ok(lambda b: b["dimension"] == 2))),
    *rows("GET", "{D}/collections/by-id/x", (None, bad(NOT_A_UUID))),
    *rows("GET", "{D}/collections/by-id/" + NO_UUID,
          (None, missing(f"Collection [{NO_UUID}] does not exist"))),
    *rows("GET", NOWHERE + "/by-id/{id}", (None, missing("Collection [{id}] does not exist"))),
    *rows("GET", "/api/v2/collections/a:b:c",
          (None, ok(status=DROPPED), missing("Collection [c] does not exist"),
           "the real server's thread panics")),
    *rows("GET", "/api/v2/collections/abc", (None, bad(re.compile(".+")))),
    *rows(
        "PUT", "{D}/collections/{id}",
        ({}, ok({})),
        ({"new_name": "{new}"}, ok({})),
        ({"new_name": "{name}"}, ok({})),
        ({"new_name": "ab"}, bad("Validation error: new_name: " + NAME_RULE + "ab")),
        ({"new_name": 5}, shape("new_name")),
        (b'{"new_name":"abc-1","new_name":"abc-2"}', shape("duplicate field `new_name`")),
        ({"new_name": "{other}"},
         Expected(500, "InternalError", re.compile(".*UNIQUE constraint failed.*")),
         Expected(409, OTHER, "Collection [{other}] already exists"),
         "409 says what is wrong, 500 does not"),
        ({"new_metadata": {}}, bad("Validation error: new_metadata: Metadata cannot be empty")),
        ({"new_metadata": {"a": None, "b": 1}}, ok({})),
        ({"new_metadata": {"#a": 1}},
         bad("Validation error: new_metadata: Metadata key cannot start with '#' or '$': #a")),
        ({"new_metadata": {"": 1}},
         bad("Validation error: new_metadata: Metadata key cannot be empty")),
        ({"new_metadata": {"a": [1]}}, ok(status=DROPPED),
         ok({}), "the real server's thread panics"),
        ({"new_configuration": {}}, ok({})),
        ({"new_configuration": {"hnsw": {"ef_search": 5}}}, ok({})),
        ({"new_configuration": {"spann": {"ef_search": 5}}}, ok({})),
        ({"new_configuration": {"hnsw": {"ef_search": 5}, "spann": {"ef_search": 5}}}, TWO_INDEXES),
        ({"new_configuration": {"hnsw": {"space": "ip"}}},
         shape("new_configuration.hnsw.space")),
        ({"new_configuration": {"hnsw": {"ef_search": "x"}}},
         shape("new_configuration.hnsw.ef_search")),
    ),
    *rows("PUT", "{D}/collections/" + NO_UUID,
          ({"new_name": "abcd"}, no_collection(NO_UUID))),
    *rows("PUT", "{D}/collections/xyz", ({"new_name": "abcd"}, bad(NOT_A_UUID))),
    *(Row("GET", "{D}/collections/{id}/count" + query, None, ok(3))
      for query in ("", "?read_level=index_and_wal", "?read_level=index_only",
                    "?read_level=index_and_bounded_wal", "?zz=1")),
    *(Row("GET", f"{{D}}/collections/{{id}}/count?read_level={level}", None,
          query_string("read_level: ")) for level in ("zz", "")),
]
