# SPDX-License-Identifier: Apache-2.0
"""The routes that read records, their filters, and what an empty collection answers."""

# fmt: off
from __future__ import annotations

import re

from support.wire_rows import (
    WHERE, WHERE_DOCUMENT, Expected, Row, bad, floats, ok, rows, shape, unparsable,
)

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
