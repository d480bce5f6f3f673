# SPDX-License-Identifier: Apache-2.0
"""What the routes of a collection check first, and those that write."""

# fmt: off
from __future__ import annotations

import re

from support.wire.collection import NOWHERE
from support.wire_rows import (
    BAD_METADATA, LENGTHS, NO_UUID, NOT_A_UUID, OTHER, SHORT_DATABASE, WHERE, Expected, Row,
    bad, floats, missing, no_collection, ok, rows, shape, unparsable,
)

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
