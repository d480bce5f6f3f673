# SPDX-License-Identifier: Apache-2.0
"""Chroma's Python interface: the grammar of filters, and what is refused, over each backend."""

from __future__ import annotations

from typing import Any

import chromadb
import pytest

from support.animals import IDS
from support.chroma_clients import Backend, refusal

WHERES = [
    ({"kind": "bird"}, ["bird"]),
    ({"kind": {"$eq": "bird"}}, ["bird"]),
    ({"kind": {"$ne": "bird"}}, ["dog", "none", "fish"]),
    ({"legs": 2.0}, ["bird"]),
    ({"weight": 2}, ["fish"]),
    ({"tame": True}, ["dog"]),
    ({"tame": {"$ne": True}}, ["bird", "none", "fish"]),
    ({"legs": {"$gt": 2}}, ["dog"]),
    ({"legs": {"$gte": 2}}, ["dog", "bird"]),
    ({"weight": {"$lt": 2}}, ["bird"]),
    ({"weight": {"$lte": 2.0}}, ["bird", "fish"]),
    ({"kind": {"$in": ["fish", "bird", "x"]}}, ["bird", "fish"]),
    ({"legs": {"$nin": [0, 4]}}, ["bird", "none"]),
    ({"weight": {"$in": [9.5, 2.0]}}, ["dog", "fish"]),
    ({"tags": {"$contains": "loud"}}, ["dog"]),
    ({"tags": {"$contains": "lou"}}, []),
    ({"sizes": {"$contains": 2}}, ["bird"]),
    ({"ratios": {"$contains": 0.5}}, ["fish"]),
    ({"flags": {"$contains": True}}, ["fish"]),
    ({"sizes": {"$not_contains": 2}}, ["dog", "none", "fish"]),
    ({"kind": {"$contains": "bird"}}, []),
    ({"$and": [{"legs": {"$gt": 0}}, {"weight": {"$gt": 1}}]}, ["dog"]),
    ({"$or": [{"legs": 0}, {"$and": [{"tame": False}, {"kind": "bird"}]}]}, ["bird", "fish"]),
    ({"nothing": {"$ne": 1}}, IDS),
    ({"nothing": 1}, []),
]
WHERE_DOCUMENTS = [
    ({"$contains": "dog"}, ["dog"]),
    ({"$contains": "DOG"}, []),
    ({"$contains": "Vögel"}, ["bird"]),
    ({"$contains": "鳥"}, ["bird"]),
    ({"$contains": "i"}, ["bird", "fish"]),
    ({"$contains": "%"}, ["fish"]),
    ({"$contains": "h_a"}, ["fish"]),
    ({"$contains": "\\ 2)"}, ["fish"]),
    ({"$contains": "and\nchips"}, ["fish"]),
    ({"$not_contains": "dog"}, ["bird", "none", "fish"]),
    ({"$regex": "dog|fish"}, ["dog", "fish"]),
    ({"$regex": "(?i)^a DOG"}, ["dog"]),
    ({"$regex": r"\d+%"}, ["fish"]),
    ({"$regex": r"\p{Han}"}, ["bird"]),
    ({"$regex": "fish.*chips"}, []),
    ({"$regex": "(?s)fish.*chips"}, ["fish"]),
    ({"$regex": "V.gel"}, ["bird"]),
    ({"$not_regex": "dog|fish"}, ["bird", "none"]),
    ({"$and": [{"$contains": "g"}, {"$not_contains": "dog"}]}, ["bird"]),
    ({"$or": [{"$contains": "barks"}, {"$regex": "singt"}]}, ["dog", "bird"]),
]


def test_the_grammar_of_where(animals: Any):
    for where, ids in WHERES:
        assert animals.get(where=where)["ids"] == ids, where
        hits = animals.query(query_embeddings=[[1.0, 1.0, 1.0]], where=where, include=[])
        assert sorted(hits["ids"][0]) == sorted(ids), where


def test_the_grammar_of_where_document(animals: Any):
    for clause, ids in WHERE_DOCUMENTS:
        assert animals.get(where_document=clause)["ids"] == ids, clause
        hits = animals.query(query_embeddings=[[1.0, 1.0, 1.0]], where_document=clause, include=[])
        assert sorted(hits["ids"][0]) == sorted(ids), clause


@pytest.mark.parametrize(
    "where",
    [
        {"a": {"$gt": "x"}}, {"a": {"$zz": 1}}, {"a": {"$in": []}}, {"a": {"$in": [1, "x"]}},
        {"$and": [{"a": 1}]}, {"$or": []}, {"a": 1, "b": 2}, {"a": {"$gt": 1, "$lt": 2}},
        {"a": None}, {"$not": {"a": 1}}, {"a": {"$contains": [1]}}, "text",
    ],
    ids=str,
)  # fmt: skip
def test_where_clauses_that_are_refused(animals: Any, where: Any):
    for call in (
        lambda: animals.get(where=where),
        lambda: animals.delete(where=where),
        lambda: animals.query(query_embeddings=[[1.0, 0.0, 0.0]], where=where),
    ):
        with pytest.raises(ValueError, match="[Ee]xpected (where|oper)"):
            call()
    assert animals.count() == 4


@pytest.mark.parametrize(
    "clause",
    [{"$contains": ""}, {"$zz": "a"}, {"$contains": 5}, {"$and": [{"$contains": "a"}]}, "text"],
    ids=str,
)
def test_document_clauses_that_are_refused(animals: Any, clause: Any):
    with pytest.raises(ValueError, match="[Ee]xpected (where )?document"):
        animals.get(where_document=clause)


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=a)", "[z-a]"])
def test_patterns_that_are_refused(animals: Any, backend: Backend, pattern: str):
    with refusal(backend, "InvalidArgumentError", "Regex syntax err+or"):
        animals.get(where_document={"$regex": pattern})


ONE = {"ids": ["a"], "embeddings": [[1.0, 2.0]]}
# What the client itself refuses, before a server could: (arguments of add, message).
REFUSED = [
    ({"ids": [], "embeddings": []}, "[Ee]xpected (IDs|Embeddings).*non-empty|Expected .*list"),
    ({"ids": ["a", "a"], "embeddings": [[1.0], [2.0]]}, "duplicates"),
    ({"ids": [1], "embeddings": [[1.0]]}, "Expected ID to be a str"),
    ({"ids": ["a"], "embeddings": [["x"]]}, "[Ee]mbedding"),
    ({"ids": ["a"], "embeddings": []}, "[Ee]mbedding"),
    ({"ids": ["a"]}, "Exactly one of .* must be provided"),
    ({**ONE, "metadatas": [{}]}, "non-empty dict"),
    ({**ONE, "metadatas": [{"a": {"b": 1}}]}, "metadata value"),
    ({**ONE, "metadatas": [{"a": [1, "x"]}]}, "metadata"),
    ({**ONE, "metadatas": [{"a": []}]}, "metadata"),
    ({**ONE, "metadatas": [{"chroma:document": "x"}]}, "chroma:document"),
    ({**ONE, "metadatas": [{1: "x"}]}, "metadata key"),
    ({**ONE, "documents": ["x", "y"]}, "[Uu]nequal lengths|length"),
    ({**ONE, "documents": [5]}, "document"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_the_client_refuses(collection: Any, arguments: dict, message: str):
    """Chroma's own checks are ValueError, TypeError or DuplicateIDError."""
    for write in (collection.add, collection.upsert):
        with pytest.raises(Exception, match=message) as caught:
            write(**arguments)
        assert isinstance(caught.value, (ValueError, TypeError, chromadb.errors.ChromaError))
    assert collection.count() == 0


def test_what_the_server_refuses(collection: Any, backend: Backend):
    collection.add(**ONE)
    with refusal(backend, "InvalidArgumentError", "dimension of 2, got 3"):
        collection.add(ids=["b"], embeddings=[[1.0, 2.0, 3.0]])
    with refusal(backend, "InvalidArgumentError", "dimension of 2, got 1"):
        collection.query(query_embeddings=[[1.0]])
    with refusal(backend, "InvalidArgumentError", "[Ii]nconsistent dimensions"):
        collection.add(ids=["b", "c"], embeddings=[[1.0, 2.0], [1.0]])
    with refusal(backend, "InvalidArgumentError", "at least one character"):
        collection.add(ids=[""], embeddings=[[1.0, 2.0]])
    with refusal(backend, "InvalidArgumentError", "Non-finite float value|NaN"):
        collection.add(ids=["b"], embeddings=[[float("nan"), 1.0]])
    with refusal(backend, "InvalidArgumentError", "Invalid metadata at index 0"):
        collection.add(ids=["b"], embeddings=[[1.0, 2.0]], metadatas=[{"$a": 1}])
    assert collection.get()["ids"] == ["a"]


@pytest.mark.parametrize(
    "arguments",
    [{"n_results": 0}, {"n_results": -1}, {"n_results": "x"}, {"include": ["nope"]}],
    ids=str,
)
def test_queries_that_the_client_refuses(animals: Any, arguments: dict):
    with pytest.raises((ValueError, TypeError)):
        animals.query(query_embeddings=[[1.0, 0.0, 0.0]], **arguments)
    if "n_results" not in arguments:
        with pytest.raises((ValueError, TypeError)):
            animals.get(**arguments)
