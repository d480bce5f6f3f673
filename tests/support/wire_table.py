# SPDX-License-Identifier: Apache-2.0
"""Requests and their answers on the wire, route by route. Every row holds on the real `chroma run`,
and on `vkb serve` unless the row says what vkb does instead, and why.

Placeholders: {D} the default database; {C} a collection of the records a, b and c, made for the
row; {E} an empty one; {id}, {ID} and {hex} the UUID of a shared collection like {C} in three
spellings, {name} its name, {other} the name of another; {new} a name that is not taken."""

# fmt: off
from __future__ import annotations

import re

from support.wire_rows import (
    BAD_METADATA, DROPPED, LENGTHS, NAME_RULE, NO_UUID, NOT_A_UUID, OTHER, SHORT_DATABASE, WHERE,
    WHERE_DOCUMENT, Expected, Row, bad, floats, missing, no_collection, ok, query_string, rows,
    shape, unparsable,
)

COLLECTIONS = "{D}/collections"
SERVER = [
    Row("GET", "/api/v2", None, ok(lambda body: list(body) == ["nanosecond heartbeat"])),
    Row("GET", "/api/v2/heartbeat", None, ok(lambda b: b["nanosecond heartbeat"] > 10**18)),
    Row("GET", "/api/v2/heartbeat?x=%ff", None, ok(lambda b: b["nanosecond heartbeat"] > 10**18)),
    Row("GET", "/api/v2/version", None, ok(lambda body: re.fullmatch(r"\d+\.\d+\.\d+", body))),
    Row("GET", "/api/v2/healthcheck", None,
        ok({"is_executor_ready": True, "is_log_client_ready": True})),
    Row("GET", "/api/v2/pre-flight-checks", None,
        ok({"max_batch_size": 5461, "supports_base64_encoding": True})),
    Row("GET", "/api/v2/auth/identity", None,
        ok({"user_id": "", "tenant": "default_tenant", "databases": ["default_database"]})),
    Row("GET", "/openapi.json", None, ok(lambda body: body["openapi"].startswith("3.1"))),
    Row("GET", "/", None, ok(status=404)),
    Row("GET", "/api/v2/nope", None, ok(status=404)),
    Row("GET", "/api/v2/heartbeat/", None, ok(status=404)),
    Row("GET", "//api/v2/heartbeat", None, ok(status=404)),
    Row("GET", "/api/v2/%2e%2e/heartbeat", None, ok(status=404)),
    Row("GET", "/api/v2/../../etc/passwd", None, ok(status=404)),
    Row("GET", "{D}//collections", None, ok(status=404)),
    Row("GET", "{D}/collections/{id}/nope", None, ok(status=404)),
    Row("PUT", "/api/v2/heartbeat", None, ok(status=405)),
    Row("POST", "{D}/collections/{id}/count", {}, ok(status=405)),
    Row("GET", "{D}/collections/{id}/add", None, ok(status=405)),
    Row("HEAD", "/api/v2/heartbeat", None, ok()),
    Row("HEAD", "{D}/collections", None, ok()),
    *(
        Row(method, "/api/v1/collections", None,
            Expected(410, "Unimplemented", "The v1 API is deprecated. Please use /v2 apis"))
        for method in ("GET", "PUT", "PATCH", "DELETE")
    ),
    Row("POST", "/api/v1/collections", {"name": "abc"}, ok(status=405)),
]

TENANTS = [
    *rows(
        "POST", "/api/v2/tenants",
        ({"name": "{new}"}, ok({})),
        ({"name": "default_tenant"},
         Expected(409, OTHER, "Tenant [default_tenant] already exists")),
        ({"name": "ab"}, bad(re.compile("Validation error: name: Validation error: length .+"))),
        ({"name": 5}, shape("name")),
        ({}, shape("missing field `name`")),
        (b"", unparsable()),
        (b"{", unparsable()),
    ),
    *rows("GET", "/api/v2/tenants/default_tenant",
          (None, ok({"name": "default_tenant", "resource_name": None}))),
    *rows("GET", "/api/v2/tenants/nope", (None, missing("Tenant [nope] not found"))),
    *rows("GET", "/api/v2/tenants/a+b", (None, missing("Tenant [a+b] not found"))),
    *rows("GET", "/api/v2/tenants/%e2%82%ac", (None, missing("Tenant [€] not found"))),
    *rows("GET", "/api/v2/tenants/..%2f..%2fetc%2fpasswd",
          (None, missing("Tenant [../../etc/passwd] not found"))),
    *rows("PATCH", "/api/v2/tenants/default_tenant",
          ({"resource_name": "x"}, ok({})), ({}, shape("missing field `resource_name`"))),
    *rows("PATCH", "/api/v2/tenants/nope", ({"resource_name": "x"}, ok({}))),
]

T = "/api/v2/tenants/default_tenant/databases"
DATABASES = [
    *rows(
        "POST", T,
        ({"name": "{new}"}, ok({})),
        ({"name": "default_database"},
         Expected(409, OTHER, "Database [default_database] already exists")),
        *(({"name": name}, bad(NAME_RULE + name))
          for name in ("ab", "a b c", ".abc", "abc.", "::1", "a" * 513, "café1")),
        ({"name": "1.2.3.4"}, bad("Expected a name that is not a valid ip address. Got 1.2.3.4")),
        ({"name": "a..b"},
         bad("Expected a name that does not contains two consecutive periods (..). Got a..b")),
        ({}, shape("missing field `name`")),
        ({"name": None}, shape("name")),
    ),
    *rows("POST", "/api/v2/tenants/nope/databases", ({"name": "{new}"}, ok({}))),
    *rows("GET", T + "/default_database",
          (None, ok({"id": NO_UUID, "name": "default_database", "tenant": "default_tenant"}))),
    *rows("GET", T + "/nope",
          (None, missing("Database [nope] not found. Are you sure it exists?"))),
    *rows("GET", T + "/ab", (None, bad(SHORT_DATABASE))),
    *rows("DELETE", T + "/nope", (None, missing("Database [nope] not found"))),
    *rows("GET", "/api/v2/tenants/nope2/databases", (None, ok([]))),
    *rows("GET", T + "?limit=0", (None, ok([]))),
    *rows("GET", T + "?limit=%30", (None, ok([]))),
    *rows("GET", T + "?limit=%2b0&other=%zz", (None, ok([]))),
    *rows("GET", T + "?limit=0&limit=0", (None, query_string("duplicate field `limit`"))),
    *rows("GET", T + "?limit=%zz", (None, query_string("limit: "))),
    *rows("GET", T + "?offset=4294967295", (None, ok([]))),
    *(
        Row("GET", f"{T}?{name}={value}", None, query_string(f"{name}: "))
        for name in ("limit", "offset") for value in ("-1", "x", "", "99999999999")
    ),
]

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

ONE = {"ids": ["a"], "embeddings": [[1, 2]]}
ROUTES = {
    "add": ONE, "update": {"ids": ["a"]}, "upsert": ONE, "delete": {"ids": ["a"]}, "get": {},
    "query": {"query_embeddings": [[1, 2]]}, "search": {"searches": []},
    "fork": {"new_name": "abcd"},
}
ELSEWHERE = "UUID routes of the real server ignore tenant and database, a hole closed since"
ORDER = [
    *(
        row for route, request in ROUTES.items() for row in (
            *rows("POST", f"{{D}}/collections/{NO_UUID}/{route}",
                  (request, no_collection(NO_UUID)),
                  (b"", unparsable()), (b"{", unparsable()), (b"x", unparsable()),
                  (b"5", shape("invalid type"))),
            *rows("POST", f"{{D}}/collections/xyz/{route}",
                  (request, bad(NOT_A_UUID)), (b"{", unparsable())),
            *rows("POST", f"/api/v2/tenants/nope/databases/no/collections/{{id}}/{route}",
                  (request, bad(SHORT_DATABASE))),
            Row("POST", f"{{D}}/collections/{{id}}/{route}", request,
                Expected(415, OTHER, "Expected request with `Content-Type: application/json`"),
                headers={"Content-Type": "text/plain"}),
        )
    ),
    *(
        Row("POST", f"{NOWHERE}/{{id}}/{route}", ROUTES[route], ok(status=status),
            no_collection("{id}"), ELSEWHERE)
        for route, status in (("get", 200), ("query", 200), ("add", 201), ("update", 200),
                              ("upsert", 200), ("delete", 200))
    ),
    *(
        Row("GET", f"{place}/{what}", None, expected)
        for what in ("count", "indexing_status", "fork_count")
        for place, expected in (
            (f"{{D}}/collections/{NO_UUID}", no_collection(NO_UUID)),
            ("{D}/collections/xyz", bad(NOT_A_UUID)),
        )
    ),
    *rows("GET", "{D}/collections/{id}/indexing_status",
          (None, Expected(500, "InternalError", "Method scout_logs is not implemented"),
           ok(lambda b: b["total_ops"] == b["num_indexed_ops"] + b["num_unindexed_ops"]),
           "vkb can tell")),
    *rows("GET", "{D}/collections/{id}/functions/x",
          (None, missing("Attached function not found"))),
    *rows("GET", "{D}/collections/{id}/fork_count",
          (None, Expected(501, OTHER, "Count forks is unsupported for local chroma"))),
    *rows("POST", "{D}/collections/{id}/fork",
          ({"new_name": "{new}"},
           Expected(501, OTHER, "Collection forking is unsupported for local chroma"),
           ok(lambda body: body["dimension"] == 2), "vkb can fork")),
    *rows("POST", "{D}/collections/{id}/search",
          ({}, shape("missing field `searches`")), ({"searches": 5}, shape("searches")),
          (b'{"searches":[],"searches":[]}', shape("duplicate field `searches`"))),
]

SPARSE = {"#type": "sparse_vector", "indices": [1, 2], "values": [1, 2]}
ADD = rows(
    "POST", "{C}/add",
    ({}, shape("missing field `ids`")),
    ({"ids": ["x"]}, shape("missing field `embeddings`")),
    ({"ids": ["x"], "embeddings": None}, shape("embeddings")),
    ({"ids": ["x"], "embeddings": [None]}, shape("embeddings")),
    ({"ids": ["x"], "embeddings": [["x"]]}, shape("embeddings")),
    ({"ids": ["x"], "embeddings": [[None, 1]]}, shape("embeddings")),
    ({"ids": ["x", "y"], "embeddings": [floats(1, 2), [1, 2]]}, shape("embeddings")),
    ({"ids": ["x", "y"], "embeddings": [[1, 2], floats(1, 2)]}, shape("embeddings")),
    *((b'{"ids":["x"],"embeddings":[[1,2]],"%s":null,"%s":null}' % (field, field),
       shape(f"duplicate field `{field.decode()}`"))
      for field in (b"documents", b"metadatas", b"uris")),
    (b'{"ids":["x"],"ids":["y"],"embeddings":[[1,2]]}', shape("duplicate field `ids`")),
    (b'{"ids":["x"],"embeddings":[[1,2]],"embeddings":[[1,2]]}',
     shape("duplicate field `embeddings`")),
    (b'{"ids":["x"],"embeddings":[[1,2]],"zz":1,"zz":2}', ok({}, 201)),
    (b'{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"a":1,"a":2}]}', ok({}, 201)),
    ({"ids": ["x", "y"], "embeddings": [floats(1, 2), None]}, shape("embeddings")),
    ({"ids": [5], "embeddings": [[1, 2]]}, shape("ids[0]")),
    ({"ids": "a", "embeddings": [[1, 2]]}, shape("ids")),
    ({"ids": [], "embeddings": []}, ok({}, 201)),
    ({"ids": ["x"], "embeddings": [[1, 2]]}, ok({}, 201)),
    ({"ids": ["x"], "embeddings": [floats(1, 2)]}, ok({}, 201)),
    ({"ids": ["x"], "embeddings": [[1, 2]], "zz": [{}]}, ok({}, 201)),
    ({"ids": ["x", "x", "a"], "embeddings": [[1, 2], [3, 4], [5, 6]]}, ok({}, 201)),
    ({"ids": ["x"], "embeddings": []}, bad(LENGTHS)),
    ({**ONE, "documents": ["a", "b"]}, bad(LENGTHS)),
    ({**ONE, "uris": []}, bad(LENGTHS)),
    ({**ONE, "metadatas": [None, None]}, bad(LENGTHS)),
    ({"ids": ["x"], "embeddings": [[]]},
     bad("Validation error: embeddings: Each embedding must have at least 1 dimension")),
    ({"ids": ["x"], "embeddings": [""]},
     bad("Validation error: embeddings: Each embedding must have at least 1 dimension")),
    ({"ids": ["", "b"], "embeddings": [[1, 2], [1, 2]]},
     bad("Empty ID, ID must have at least one character")),
    ({"ids": ["x", "y"], "embeddings": [[1, 2], [1, 2, 3]]},
     bad("Inconsistent dimensions in provided embeddings")),
    ({"ids": ["x", "y"], "embeddings": [floats(1, 2), floats(1)]},
     bad("Inconsistent dimensions in provided embeddings")),
    ({"ids": ["x"], "embeddings": [[1, 2, 3]]},
     bad("Collection expecting embedding with dimension of 2, got 3")),
    (b'{"ids":["n"],"embeddings":[[NaN,1]]}', unparsable()),
    (b'{"ids":["n"],"embeddings":[[1e999,1]]}', unparsable()),
    (b'{"ids":["n"],"embeddings":[[1e39,1]]}',
     bad("Validation error: embeddings: Embeddings must not contain NaN or Infinity values")),
    *(({"ids": ["x"], "embeddings": [text]}, bad(f"Invalid base64 string: {problem}"))
      for text, problem in (
          ("A", "Invalid input length: 1"), ("AAA", "Invalid padding"),
          (floats(1, 2).rstrip("="), "Invalid padding"), ("AACAPw=", "Invalid padding"),
          ("!!!!", "Invalid symbol 33, offset 0."), ("====", "Invalid symbol 61, offset 0."),
          ("A===", "Invalid symbol 61, offset 1."), ("AA==AA==", "Invalid symbol 61, offset 2."),
          ("AACAPwAAAEB=", "Invalid last symbol 66, offset 10."),
          ("AACAPx==", "Invalid last symbol 120, offset 5."))),
    ({"ids": ["x"], "embeddings": [floats(1, 2) + "\n"]},
     bad(re.compile("Invalid base64 string: .+"))),
    ({"ids": ["x"], "embeddings": ["AAAA"]}, bad(
        "Invalid byte length: 3 bytes cannot be converted to f32 values (must be divisible by 4)")),
    ({"ids": ["x"], "embeddings": [floats(float("nan"), 1)]},
     bad("Non-finite float value at embedding index 0: NaN")),
    ({"ids": ["x"], "embeddings": [floats(1, float("inf"))]},
     bad("Non-finite float value at embedding index 1: inf")),
    ({"ids": ["x"], "embeddings": [floats(1, float("-inf"))]},
     bad("Non-finite float value at embedding index 1: -inf")),
    ({**ONE, "documents": [5]}, shape("documents[0]")),
    ({**ONE, "documents": "x"}, shape("documents")),
    ({**ONE, "metadatas": [5]}, shape("metadatas[0]")),
    *(({**ONE, "metadatas": [{"a": value}]}, shape("metadatas[0].a"))
      for value in (None, {}, {"b": 1}, [1, "x"], [None], [[1]], [True, 1])),
    *(({**ONE, "metadatas": [{key: 1}]}, bad(BAD_METADATA)) for key in ("", "#a", "$a")),
    ({"ids": ["x"], "embeddings": [[1, 2]], "metadatas": [{"a": SPARSE}]}, Expected(
        501, OTHER, "Unimplemented: Sparse vector is not supported for local chroma: a")),
    ({**ONE, "metadatas": [{"a": {**SPARSE, "indices": [2, 1]}}]}, bad(BAD_METADATA)),
    ({**ONE, "metadatas": [{"a": {**SPARSE, "indices": [2]}}]}, bad(BAD_METADATA)),
    ({"ids": ["x"], "embeddings": [[1, 2]], "metadatas": [{}]}, ok({}, 201)),
    ({"ids": ["x"], "embeddings": [[1, 2]], "metadatas": [{"a": []}]}, ok({}, 201)),
)

WRITE = [
    *rows(
        "POST", "{C}/update",
        ({}, shape("missing field `ids`")),
        ({"ids": ["a"]}, ok({})),
        ({"ids": []}, ok({})),
        ({"ids": ["zz"], "embeddings": [[1, 2]]}, ok({})),
        ({"ids": ["a", "b"], "embeddings": [[5, 5], None]}, ok({})),
        ({"ids": ["a", "b"], "embeddings": [floats(5, 5), None]}, ok({})),
        ({"ids": ["a", "b", "c"], "embeddings": [None, floats(5, 5), [1, 2]]}, shape("embeddings")),
        (b'{"ids":["a"],"ids":["a"]}', shape("duplicate field `ids`")),
        ({"ids": ["a", "a"], "documents": ["1", "2"]}, ok({})),
        ({"ids": ["a"], "metadatas": [{"n": None}]}, ok({})),
        ({"ids": ["a"], "metadatas": [{}]}, ok({})),
        ({"ids": ["a"], "embeddings": [[1]]},
         bad("Collection expecting embedding with dimension of 2, got 1")),
        ({"ids": ["a"], "embeddings": [[]]},
         bad("Validation error: embeddings: Each embedding must have at least 1 dimension")),
        ({"ids": ["a"], "metadatas": [{"#x": 1}]}, bad(BAD_METADATA)),
        ({"ids": ["a", "b"], "documents": ["x"]}, bad(LENGTHS)),
        ({"ids": [""]}, bad("Empty ID, ID must have at least one character")),
    ),
    *rows(
        "POST", "{C}/upsert",
        ({"ids": ["a"]}, shape("missing field `embeddings`")),
        ({"ids": ["a"], "embeddings": [None]}, shape("embeddings")),
        ({"ids": ["a"], "embeddings": [[1]]},
         bad("Collection expecting embedding with dimension of 2, got 1")),
        ({"ids": ["q", "q"], "embeddings": [[1, 2], [3, 4]], "documents": ["one", None]}, ok({})),
        ({"ids": ["a"], "embeddings": [[1, 1]], "metadatas": [{"n": None}]}, ok({})),
    ),
    *rows(
        "POST", "{C}/delete",
        ({}, ok({"deleted": 0})),
        ({"ids": ["zz", "a"]}, ok({"deleted": 2})),
        ({"ids": ["a", "a"]}, ok({"deleted": 2})),
        ({"ids": [""]}, ok({"deleted": 1})),
        ({"ids": []}, bad("Validation error: ids, where: Either ids or where must be specified")),
        ({"ids": [], "where": {"n": 77}}, ok({"deleted": 0})),
        # Nothing may be deleted by a body that is no JSON.
        *((body, unparsable()) for body in (
            b'{"ids":nope,"where":{"n":1}}', b'{"ids":["a"],"where":nope}',
            b'{"ids":["a"],"wher":{"k"::2}}', b'{"ids":["a"],"x":}', b'{"ids":["a"],"limit":01}')),
        ({"where": {"n": 2}, "limit": 1}, ok({"deleted": 1})),
        ({"where": {"n": {"$gte": 1}}, "limit": 0}, ok({"deleted": 0})),
        ({"where": {"n": {"$gte": 1}}, "ids": ["b", "zz"]}, ok({"deleted": 1})),
        ({"where_document": {"$contains": ""}}, ok({"deleted": 2})),
        ({"where_document": {"$contains": ""}, "limit": 1}, ok({"deleted": 1})),
        ({"where": {"n": 77}, "limit": -1}, shape("limit")),
        (b'{"where":{"n":77},"where":{"n":78}}', shape("duplicate field `where`")),
        ({"where": {}}, bad(WHERE)),
        ({"ids": ["a"], "limit": 1}, bad(
            "Validation error: limit, where: limit can only be specified when a where clause is "
            "provided")),
        ({"limit": 1}, bad(
            "Validation error: limit, where: limit can only be specified when a where clause is "
            "provided")),
    ),
]

A_DATA = {"n": 1, "s": "x", "f": 1.5, "t": True, "l": [1, 2], "ls": ["x", "y"], "lf": [1.0, 2.5]}
DEFAULT_GET = {
    "ids": ["a", "b", "c"], "embeddings": None, "documents": ["dog cat", "Bird é", None],
    "uris": None, "metadatas": [A_DATA, {"n": 2}, None], "include": ["documents", "metadatas"],
}
NOTHING = {"embeddings": None, "documents": None, "uris": None, "metadatas": None}


def found(*ids: str) -> Expected:
    return ok({"ids": list(ids), **NOTHING, "include": []})


GET = rows(
    "POST", "{C}/get",
    ({}, ok(DEFAULT_GET)),
    ({"zz": 1}, ok(DEFAULT_GET)),
    ({"ids": None, "where": None, "where_document": None, "limit": None, "offset": None},
     ok(DEFAULT_GET)),
    ({"include": ["documents", "metadatas", "uris", "embeddings", "distances"]},
     ok({**DEFAULT_GET, "uris": ["u1", None, None], "embeddings": [[1, 0], [0, 1], [1, 1]],
         "include": ["documents", "metadatas", "uris", "embeddings", "distances"]})),
    ({"ids": ["nope"], "include": ["embeddings", "uris"]},
     ok({"ids": [], **NOTHING, "embeddings": [], "uris": [], "include": ["embeddings", "uris"]})),
    ({"include": []}, found("a", "b", "c")),
    ({"include": None}, shape("include")),
    ({"include": ["data"]}, shape("include[0]")),
    ({"include": ["documents", "zz"]}, shape("include[1]")),
    ({"include": "documents"}, shape("include")),
    *(({"include": ["documents", name]}, bad(
        re.compile("Failed to parse the request body as JSON: include.1.: expected value.*")))
      for name in (None, 5, 1.5, True, ["documents"], {})),
    (b'{"limit":1,"limit":2}', shape("duplicate field `limit`")),
    (b'{"where":null,"where":{"n":2}}', shape("duplicate field `where`")),
    (b'{"include":[],"include":[]}', shape("duplicate field `include`")),
    (b'{"where":{"n":1,"n":2},"include":[]}', found("b")),
    ({"ids": ["b", "zz", "a", "a"], "include": []}, found("a", "b")),
    ({"ids": [], "include": []}, found()),
    ({"ids": [""], "include": []}, found()),
    ({"ids": "a"}, shape("ids")),
    ({"ids": [1]}, shape("ids[0]")),
    ({"limit": 0, "include": []}, found()),
    ({"limit": 4294967295, "include": []}, found("a", "b", "c")),
    ({"limit": 1, "offset": 1, "include": []}, found("b")),
    ({"limit": 1, "offset": 1, "where": {"n": {"$gte": 1}}, "include": []}, found("b")),
    ({"offset": 4294967295, "include": []}, found()),
    *(({name: value}, shape(f"{name}"))
      for name in ("limit", "offset") for value in (-1, 4294967296, 10**30, 1.0, "1", [1])),
)


def where(*cases: tuple) -> list[Row]:
    return rows("POST", "{C}/get", *(({"where": c, "include": []}, *rest) for c, *rest in cases))


def where_document(*cases: tuple) -> list[Row]:
    return rows("POST", "{C}/get",
                *(({"where_document": c, "include": []}, *rest) for c, *rest in cases))


ASCII = r"RE2's \w, \d, \s and \b know ASCII only"
TRUNCATED = "the real server cuts a float operand to an integer for integer fields"
REGEX_ERROR = bad(re.compile("Regex syntax err+or: .+", re.DOTALL))
INDEXING = (
    "Cannot filter using metadata key '#document' with type 'Str' because indexing is disabled"
)
FILTER = [
    *where(
        ({"n": 1}, found("a")), ({"n": 1.0}, found("a")), ({"n": {"$eq": 1}}, found("a")),
        ({"n": {"$ne": 1}}, found("b", "c")), ({"n": {"$ne": "x"}}, found("a", "b", "c")),
        ({"n": True}, found()), ({"t": True}, found("a")), ({"t": 1}, found()),
        ({"t": {"$ne": False}}, found("a", "b", "c")),
        ({"f": 1.5}, found("a")), ({"f": {"$gt": 1}}, found("a")), ({"s": "x"}, found("a")),
        ({"s": {"$ne": "x"}}, found("b", "c")), ({"zz": {"$ne": 1}}, found("a", "b", "c")),
        ({"n": {"$gt": 1}}, found("b")), ({"n": {"$gte": 1}}, found("a", "b")),
        ({"n": {"$lt": 2}}, found("a")), ({"n": {"$lte": 2}}, found("a", "b")),
        ({"n": {"$gt": 1e300}}, found()), ({"n": {"$lt": 1e300}}, found("a", "b")),
        ({"n": 1.5}, found("a"), found(), TRUNCATED),
        ({"n": {"$lt": 1.5}}, found(), found("a"), TRUNCATED),
        ({"n": {"$in": [1, 2]}}, found("a", "b")), ({"n": {"$in": [1.0, 2]}}, found("a", "b")),
        ({"n": {"$nin": [1]}}, found("b", "c")), ({"s": {"$in": ["x", "y"]}}, found("a")),
        ({"t": {"$in": [True]}}, found("a")), ({"t": {"$nin": [True]}}, found("b", "c")),
        ({"l": {"$contains": 1}}, found("a")), ({"l": {"$contains": 1.0}}, found()),
        ({"lf": {"$contains": 1}}, found()), ({"lf": {"$contains": 1.0}}, found("a")),
        ({"ls": {"$contains": "x"}}, found("a")), ({"ls": {"$contains": "xy"}}, found()),
        ({"s": {"$contains": "x"}}, found()), ({"e": {"$contains": 1}}, found()),
        ({"l": {"$not_contains": 1}}, found("b", "c")),
        ({"ls": {"$not_contains": 1}}, found("a", "b", "c")),
        ({"l": 1}, found()), ({"l": {"$ne": 1}}, found("a", "b", "c")),
        ({"l": {"$gt": 0}}, found()), ({"l": {"$in": [1]}}, found()),
        ({"$and": []}, found("a", "b", "c")), ({"$or": []}, found()),
        ({"$and": [{"n": 1}]}, found("a")), ({"$and": [{"n": 1}, {"s": "y"}]}, found()),
        ({"$or": [{"n": 2}, {"$and": [{"s": "x"}, {"t": True}]}]}, found("a", "b")),
        ({"#document": {"$contains": "dog"}}, found("a")),
        ({"#document": {"$regex": "d.g"}}, found("a")),
        ({"#document": {"$not_contains": "dog"}}, found("b", "c")),
        ({"$or": [{"#document": {"$not_regex": "."}}, {"n": 1}]}, found("a", "c")),
        ({"#document": "x"}, bad(INDEXING)),
        ({"#id": "a"}, found()), ({"#a": 1}, found()),
        ({"#document": 1}, found()), ({"#document": {"$in": ["x"]}}, bad(INDEXING)),
        ({"": 1}, found()), ({"": {"$ne": 1}}, found("a", "b", "c")), ({"": None}, bad(WHERE)),
        ({"chroma:document": "dog cat"}, found("a")), ({"chroma:document": "dog"}, found()),
        ({"chroma:document": {"$ne": "dog cat"}}, found("b", "c")),
        ({"chroma:document": {"$in": ["dog cat", "Bird é"]}}, found("a", "b")),
        ({"chroma:document": {"$nin": ["dog cat"]}}, found("b", "c")),
        ({"chroma:document": {"$contains": "dog"}}, found()), ({"chroma:document": 1}, found()),
        ({"chroma:document": {"$regex": "dog"}}, bad(WHERE)),
        ({"chroma:uri": "u1"}, found("a")), ({"chroma:uri": {"$nin": ["u1"]}}, found("b", "c")),
        *((clause, bad(WHERE)) for clause in (
            {}, 5, [], "x", {"n": None}, {"n": {}}, {"n": [1, 2]}, {"n": 1, "s": "x"},
            {"n": {"$eq": None}}, {"n": {"$eq": [1]}}, {"n": {"$zz": 1}}, {"$a": 1}, {"$zz": 1},
            {"n": {"$gt": "x"}}, {"n": {"$gt": True}}, {"n": {"$gt": 1, "$lt": 3}},
            {"n": {"$in": []}}, {"n": {"$in": [1, "x"]}}, {"n": {"$in": [1, 2.0]}},
            {"n": {"$in": 5}}, {"n": {"$in": [True, 1]}}, {"n": {"$nin": [None]}},
            {"l": {"$contains": [1]}}, {"s": {"$regex": "x"}}, {"$and": {"n": 1}}, {"$and": [5]},
            {"$and": [{}]}, {"$not": {"n": 1}}, {"$contains": "x"},
            {"n": 2**64 - 1}, {"n": 2**63},
        )),
    ),
    *where_document(
        ({"$contains": "dog"}, found("a")), ({"$contains": "DOG"}, found()),
        ({"$contains": "g c"}, found("a")), ({"$contains": "é"}, found("b")),
        ({"$contains": ""}, found("a", "b")), ({"$contains": "%"}, found()),
        ({"$contains": "_"}, found()), ({"$contains": '"'}, found()),
        ({"$not_contains": "dog"}, found("b", "c")), ({"$not_contains": ""}, found("c")),
        ({"$regex": "(?i)DOG"}, found("a")), ({"$regex": ""}, found("a", "b")),
        ({"$regex": "^B.*é$"}, found("b")), ({"$regex": r"\p{Lu}"}, found("b")),
        ({"$regex": r"\bcat\b"}, found("a")), ({"$regex": r" \w$"}, found("b"), found(), ASCII),
        ({"$regex": r"Bird \S+$"}, found("b")), ({"$not_regex": "dog"}, found("b", "c")),
        ({"$and": [{"$contains": "dog"}, {"$contains": "cat"}]}, found("a")),
        ({"$or": [{"$contains": "dog"}, {"$regex": "B"}]}, found("a", "b")),
        ({"$and": []}, found("a", "b", "c")), ({"$or": []}, found()),
        ({"$and": [{"$contains": "d"}]}, found("a", "b")),
        *(({"$regex": pattern}, found(*ids), REGEX_ERROR, "RE2 takes it in another sense")
          for pattern, ids in (
              ("[a-z&&[^d]]", "ab"), ("[a-z--d]", "ab"), ("[a~~d]", "ab"), ("[d[x]]", "ab"),
              (r"\<cat\>", "a"), (r"\b{start}cat", "a"), (r"cat\b{end-half}", "a"),
              ("o{ 1 }g", "a"))),
        *(({"$regex": pattern}, REGEX_ERROR)
          for pattern in (r"\C", r"\Qdog\E", r"\144", r"[\0]", "o{", "o{,1}", "[d[x]", r"[\<]")),
        ({"$regex": "[[:alpha:]]"}, found("a", "b")), ({"$regex": "o{1}g"}, found("a")),
        *(({operator: pattern}, REGEX_ERROR)
          for operator, pattern in (
              ("$regex", "("), ("$not_regex", "("), ("$regex", r"(?-u)\xff"), ("$regex", r"(a)\1"),
              ("$regex", "(?=a)"), ("$regex", "[z-a]"), ("$regex", "*"))),
        *((clause, bad(WHERE_DOCUMENT)) for clause in (
            {}, 5, [], "x", {"x": 1}, {"$zz": "a"}, {"$contains": 5}, {"$contains": None},
            {"$contains": ["a"]}, {"$contains": "a", "$not_contains": "b"}, {"$and": [{}]},
            {"$or": {"$contains": "x"}}, {"$regex": 1},
        )),
    ),
    *rows(
        "POST", "{C}/get",
        ({"where": {"n": {"$gte": 1}}, "where_document": {"$contains": "é"}, "ids": ["a", "b"],
          "include": []}, found("b")),
    ),
]

NEAR = {"query_embeddings": [[1, 0]]}
QUERY_NOTHING = {**NOTHING, "distances": None, "include": []}


def nearest(*ids: list[str]) -> Expected:
    return ok({"ids": list(ids), **QUERY_NOTHING})


QUERY = rows(
    "POST", "{C}/query",
    (NEAR, ok({
        "ids": [["a", "c", "b"]], "embeddings": None, "documents": [["dog cat", None, "Bird é"]],
        "uris": None, "metadatas": [[A_DATA, None, {"n": 2}]], "distances": [[0.0, 1.0, 2.0]],
        "include": ["documents", "metadatas", "distances"]})),
    ({**NEAR, "include": ["embeddings", "distances", "uris"]}, ok({
        "ids": [["a", "c", "b"]], "embeddings": [[[1, 0], [1, 1], [0, 1]]], "documents": None,
        "uris": [["u1", None, None]], "metadatas": None, "distances": [[0.0, 1.0, 2.0]],
        "include": ["embeddings", "distances", "uris"]})),
    ({"query_embeddings": [[1, 0], [0, 1]], "n_results": 1, "include": ["distances"]}, ok({
        "ids": [["a"], ["b"]], **NOTHING, "distances": [[0.0], [0.0]], "include": ["distances"]})),
    ({"query_embeddings": []}, ok({
        "ids": [], "embeddings": None, "documents": [], "uris": None, "metadatas": [],
        "distances": [], "include": ["documents", "metadatas", "distances"]})),
    *(({**NEAR, "n_results": count, "include": []}, nearest(ids)) for count, ids in (
        (0, []), (1, ["a"]), (2, ["a", "c"]), (None, ["a", "c", "b"]),
        (4294967295, ["a", "c", "b"]))),
    ({**NEAR, "ids": ["a", "b"], "include": []}, nearest(["a", "b"])),
    ({**NEAR, "ids": [], "include": []}, nearest([])),
    ({**NEAR, "ids": ["zz", "a"], "include": []},
     Expected(500, "InternalError", "Error executing plan: Internal error: Error finding id")),
    ({**NEAR, "ids": ["zz", "a"], "where": {"n": 1}, "include": []}, nearest(["a"])),
    ({**NEAR, "ids": ["zz"], "where_document": {"$contains": ""}, "include": []}, nearest([])),
    ({**NEAR, "where": {"n": 99}, "include": []}, nearest([])),
    ({**NEAR, "where_document": {"$regex": "é"}, "include": []}, nearest(["b"])),
    ({**NEAR, "where": {"n": 99, "m": 1}}, bad(WHERE)),
    ({**NEAR, "where_document": {}}, bad(WHERE_DOCUMENT)),
    ({}, shape("missing field `query_embeddings`")),
    ({"query_embeddings": None}, shape("query_embeddings")),
    ({"query_embeddings": [1, 0]}, shape("query_embeddings[0]")),
    ({"query_embeddings": [floats(1, 0)]}, shape("query_embeddings[0]")),
    ({"query_embeddings": [[None, 1]]}, shape("query_embeddings[0][0]")),
    (b'{"query_embeddings":[[NaN,1]]}', unparsable()),
    (b'{"query_embeddings":[[1e39,1]],"include":["distances"]}',
     ok(lambda body: body["distances"] == [[None] * 3]), bad(re.compile(".*NaN or infinity.*")),
     "there is no nearest to it"),
    ({"query_embeddings": [[1]]}, bad("Collection expecting embedding with dimension of 2, got 1")),
    ({"query_embeddings": [[]]}, bad("Collection expecting embedding with dimension of 2, got 0")),
    ({"query_embeddings": [[1]], "ids": ["zz"]},
     bad("Collection expecting embedding with dimension of 2, got 1")),
    ({"query_embeddings": [[1, 0], [0, 1, 2]]},
     bad("Inconsistent dimensions in provided embeddings")),
    *(({**NEAR, "n_results": value}, shape("n_results")) for value in (-1, 2**32, "x", 1.5)),
    ({**NEAR, "include": ["data"]}, shape("include[0]")),
    (b'{"query_embeddings":[[1,0]],"n_results":1,"n_results":1}',
     shape("duplicate field `n_results`")),
)
EMPTY = [
    *rows("POST", "{E}/query",
          ({"query_embeddings": [[1, 2, 3], [4, 5, 6]], "include": []}, nearest([], [])),
          ({"query_embeddings": [[]], "include": []}, nearest([]))),
    *rows("POST", "{E}/query",
          ({"query_embeddings": [[1, 2]], "ids": ["zz"], "include": []}, nearest([]))),
    *rows("POST", "{E}/get", ({"include": []}, found())),
    *rows("POST", "{E}/delete", ({"ids": ["a"]}, ok({"deleted": 1}))),
]
ALL = {
    "server": SERVER, "tenants": TENANTS, "databases": DATABASES, "create": CREATE,
    "collection": COLLECTION, "order": ORDER, "add": ADD, "write": WRITE, "get": GET,
    "filter": FILTER, "query": QUERY, "empty": EMPTY,
}
