# SPDX-License-Identifier: Apache-2.0
"""Random operations on a Chroma server, from small vocabularies so that ids, keys and values meet
again. The same seed gives the same operations."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from support.chroma import DATABASE

NAMES = ["name-0", "name-1", "name-2", "name-3"]
IDS = [*"abcdefghijklmn", "é", "鳥 1", "a'b", "x/y"]
WORDS = ["dog", "Dog", "cat", "bird", "Vögel", "鳥", "50%", "a_b", "and", "\n", "🐟", '"q"', "\\"]
# Without \b and \w, which in RE2 know ASCII only.
PATTERNS = [
    "dog", "(?i)dog", "^dog", "cat$", "d.g", "[Dd]og", "bird|fish", r"\d+%", "Vö?gel",
    r"\p{Lu}", "a_b", "(?s)dog.cat", "dog.*bird", "🐟", r"\\", "x{2,3}", "", r"\s\s", "[^a-z ]",
]  # fmt: skip
DIM = 3
COLUMNS = ["documents", "metadatas", "embeddings", "uris"]


@dataclass(frozen=True)
class Operation:
    """A request. {name} in `path` stands for the UUID of the collection of that name."""

    kind: str
    method: str
    path: str
    body: Any = None
    collection: str | None = None


class Generator:
    """next() gives one operation after the other."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        kinds = {
            self.create: 4, self.lookup: 3, self.modify: 2, self.drop: 1.5, self.add: 10,
            self.update: 9, self.upsert: 9, self.delete: 5, self.get: 24, self.query: 20,
            self.count: 3, self.bad: 10,
        }  # fmt: skip
        self.kinds, self.weights = list(kinds), list(kinds.values())

    def next(self) -> Operation:
        return self.random.choices(self.kinds, self.weights)[0]()

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, choices: Any) -> Any:
        return self.random.choice(list(choices))

    # Values

    def vector(self) -> list[float]:
        dim = self.pick([1, 2, 4]) if self.chance(0.01) else DIM
        if self.chance(0.03):
            return [0.0] * dim
        return [round(self.random.gauss(0, 1), self.pick([1, 4])) for _ in range(dim)]

    def document(self) -> str | None:
        if self.chance(0.2):
            return None
        return self.pick(["", " "]).join(self.random.choices(WORDS, k=self.random.randint(0, 5)))

    def scalar(self, key: str) -> Any:
        """A value of the type that the key has; "m" is of all types but float, because the real
        server compares integers with floats by cutting the floats."""
        return {
            "i": lambda: self.pick([-1, 0, 1, 2, 3, 2**53, 2**63 - 1]),
            "f": lambda: self.pick([-1.5, 0.0, 0.5, 1.0, 2.25, 1e-7, 1e300]),
            "s": lambda: self.pick(["", "x", "y", "xy", "é", "X", "1", "true"]),
            "b": lambda: self.chance(0.5),
            "m": lambda: self.pick([0, 1, 2, "x", "1", True, False]),
            "é k": lambda: self.pick(["é", "e"]),
        }[key]()

    def value(self, key: str) -> Any:
        if key == "l" or (key == "m" and self.chance(0.2)):
            of = self.pick("ifsb" if key == "l" else "isb")
            return [self.scalar(of) for _ in range(self.random.randint(1, 3))]
        return self.scalar(key)

    def metadata(self, nulls: bool) -> dict | None:
        if self.chance(0.25):
            return None
        keys = self.random.sample(["i", "f", "s", "b", "m", "l", "é k"], self.random.randint(0, 4))
        return {k: None if nulls and self.chance(0.15) else self.value(k) for k in keys}

    def where(self, depth: int = 2) -> dict:
        if depth and self.chance(0.3):
            parts = [self.where(depth - 1) for _ in range(self.random.randint(0, 3))]
            return {self.pick(["$and", "$or"]): parts}
        if self.chance(0.1):
            operator = self.pick(["$contains", "$not_contains", "$regex", "$not_regex"])
            return {"#document": {operator: self.pattern(operator)}}
        key = self.pick(["i", "f", "s", "b", "m", "m", "é k", "l", "nothing"])
        of = {"l": self.pick("ifsb"), "nothing": self.pick("isb")}.get(key, key)
        if key == "l" or (key == "m" and self.chance(0.4)):
            return {key: {self.pick(["$contains", "$not_contains"]): self.scalar(of)}}
        if of in "if" and self.chance(0.5):
            number: float = self.scalar(of)
            if of == "i" and abs(number) < 100 and self.chance(0.3):
                number = float(number)
            return {key: {self.pick(["$gt", "$gte", "$lt", "$lte"]): number}}
        if self.chance(0.3):
            one = self.scalar("s" if of == "m" and self.chance(0.5) else of)
            same = [one, *(v for v in (self.scalar(of) for _ in range(2)) if type(v) is type(one))]
            return {key: {self.pick(["$in", "$nin"]): same}}
        value = self.scalar(of)
        return {key: self.pick([value, {"$eq": value}, {"$ne": value}])}

    def pattern(self, operator: str) -> str:
        if "regex" in operator:
            return self.pick(PATTERNS)
        return self.pick([*WORDS, "", "o", "og", "dog cat", "gel", "%", "鳥 ", "dogcat"])

    def where_document(self, depth: int = 2) -> dict:
        if depth and self.chance(0.3):
            parts = [self.where_document(depth - 1) for _ in range(self.random.randint(0, 3))]
            return {self.pick(["$and", "$or"]): parts}
        operator = self.pick(["$contains", "$not_contains", "$regex", "$not_regex"])
        return {operator: self.pattern(operator)}

    def ids(self, least: int = 1) -> list[str]:
        return self.random.choices(IDS, k=self.random.randint(least, 5))

    # Operations on collections

    def create(self) -> Operation:
        body: dict[str, Any] = {"name": self.pick(NAMES)}
        space = self.pick(["l2", "cosine", "ip"])
        if self.chance(0.6):
            body["configuration"] = {"hnsw": {"space": space}}
            if self.chance(0.3):
                body["configuration"]["hnsw"]["ef_search"] = self.pick([10, 77, 200])
            if self.chance(0.3):
                function = {"type": "known", "name": "mine", "config": {"a": [1, {"b": None}]}}
                body["configuration"]["embedding_function"] = function
        elif self.chance(0.5):
            body["metadata"] = {"hnsw:space": space}
        if self.chance(0.4):
            extra = {k: self.scalar(k) for k in self.random.sample("ifsb", 2)}
            body["metadata"] = {**body.get("metadata", {}), **extra}
        if self.chance(0.3):
            body["get_or_create"] = True
        return Operation("create", "POST", f"{DATABASE}/collections", body, body["name"])

    def lookup(self) -> Operation:
        name = self.pick([*NAMES, "nope"])
        if self.chance(0.2):
            return Operation("list", "GET", f"{DATABASE}/collections")
        if self.chance(0.2):
            return Operation("number", "GET", f"{DATABASE}/collections_count")
        if self.chance(0.3):
            return Operation(
                "lookup", "GET", f"{DATABASE}/collections/by-id/{{{name}}}", None, name
            )
        return Operation("lookup", "GET", f"{DATABASE}/collections/{name}", None, name)

    def modify(self) -> Operation:
        name = self.pick(NAMES)
        body: dict[str, Any] = {}
        if self.chance(0.4):
            body["new_name"] = self.pick([*NAMES, "x"])
        if self.chance(0.5):
            keys = self.random.sample("ifsb", self.random.randint(0, 2))
            body["new_metadata"] = {k: None if self.chance(0.2) else self.scalar(k) for k in keys}
        if self.chance(0.3):
            body["new_configuration"] = {"hnsw": {"ef_search": self.pick([5, 50, 500])}}
        return self.on("modify", name, "", body, "PUT")

    def drop(self) -> Operation:
        name = self.pick([*NAMES, "nope"])
        return Operation("drop", "DELETE", f"{DATABASE}/collections/{name}", None, name)

    # Operations on records

    def on(self, kind: str, name: str, verb: str, body: Any, method: str = "POST") -> Operation:
        path = f"{DATABASE}/collections/{{{name}}}" + (f"/{verb}" if verb else "")
        return Operation(kind, method, path, body, name)

    def columns(self, ids: list[str], vectors: float, nulls: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"ids": ids}
        if self.chance(vectors):
            body["embeddings"] = [self.vector() for _ in ids]
            if nulls and self.chance(0.2):
                body["embeddings"][0] = None
        for column, make in (
            ("documents", self.document),
            ("metadatas", lambda: self.metadata(nulls)),
            ("uris", lambda: self.pick([None, "file:///u", "http://é"])),
        ):
            if self.chance(0.2 if column == "uris" else 0.7):
                body[column] = [make() for _ in ids]
        return body

    def add(self) -> Operation:
        body = self.columns(self.ids(), vectors=0.99, nulls=False)
        return self.on("add", self.pick(NAMES), "add", body)

    def update(self) -> Operation:
        body = self.columns(self.ids(), vectors=0.5, nulls=True)
        return self.on("update", self.pick(NAMES), "update", body)

    def upsert(self) -> Operation:
        ids = self.ids()
        body = {
            **self.columns(ids, vectors=0, nulls=True),
            "embeddings": [self.vector() for _ in ids],
        }
        return self.on("upsert", self.pick(NAMES), "upsert", body)

    def restrict(self, body: dict[str, Any], ids: float) -> dict[str, Any]:
        if self.chance(ids):
            body["ids"] = self.ids(0)
        if self.chance(0.4):
            body["where"] = self.where()
        if self.chance(0.3):
            body["where_document"] = self.where_document()
        return body

    def delete(self) -> Operation:
        body = self.restrict({}, ids=0.6)
        if self.chance(0.2):
            body["limit"] = self.random.randint(0, 3)
        return self.on("delete", self.pick(NAMES), "delete", body)

    def included(self, body: dict[str, Any], columns: list[str]) -> dict[str, Any]:
        if self.chance(0.8):
            body["include"] = self.random.sample(columns, self.random.randint(0, len(columns)))
        return body

    def get(self) -> Operation:
        body = self.included(self.restrict({}, ids=0.3), COLUMNS)
        for name in ("limit", "offset"):
            if self.chance(0.25):
                body[name] = self.random.randint(0, 6)
        return self.on("get", self.pick(NAMES), "get", body)

    def query(self) -> Operation:
        vectors = [self.vector() for _ in range(self.random.randint(1, 3))]
        vectors = [vector for vector in vectors if len(vector) == len(vectors[0])]
        body: dict[str, Any] = {"query_embeddings": vectors}
        if self.chance(0.8):
            body["n_results"] = self.random.randint(1, 12)
        body = self.included(self.restrict(body, ids=0.15), [*COLUMNS, "distances"])
        return self.on("query", self.pick(NAMES), "query", body)

    def count(self) -> Operation:
        return self.on("count", self.pick(NAMES), "count", None, "GET")

    def bad(self) -> Operation:
        """A request that should be refused."""
        one = {"ids": ["a"], "embeddings": [[1.0] * DIM]}
        verb, body = self.pick(
            [
                ("add", {"ids": ["a"]}),
                ("add", {**one, "embeddings": [[1.0] * (DIM + 1)]}),
                ("add", {"ids": ["a", "b"], "embeddings": [[1.0] * DIM, [1.0]]}),
                ("add", {**one, "ids": [""]}),
                ("add", {**one, "ids": ["a", "b"]}),
                ("add", {**one, "ids": ["fresh"], "metadatas": [{"a": None}]}),
                ("add", {**one, "metadatas": [{"#a": 1}]}),
                ("add", {**one, "metadatas": [{"a": [1, "x"]}]}),
                ("add", {**one, "documents": [7]}),
                ("upsert", {**one, "embeddings": ["AAAA"]}),
                ("upsert", {**one, "embeddings": [[]]}),
                ("update", {"ids": ["a"], "metadatas": [{"$a": 1}]}),
                ("update", {"ids": ["a", "b"], "documents": ["x"]}),
                ("delete", {"ids": ["a"], "limit": 1}),
                ("delete", {"ids": []}),
                ("get", {"where": {"a": {"$gt": "x"}}}),
                ("get", {"where": {"a": {"$in": []}}}),
                ("get", {"where": {"a": 1, "b": 2}}),
                ("get", {"where_document": {"$regex": "("}}),
                ("get", {"where_document": {"$contains": 7}}),
                ("get", {"limit": -1}),
                ("get", {"include": ["nope"]}),
                ("query", {"query_embeddings": [[1.0] * (DIM + 1)]}),
                ("query", {"query_embeddings": [[1.0] * DIM], "n_results": -1}),
                ("query", {"query_embeddings": [[1.0] * DIM], "where": {"$nope": []}}),
                ("query", {}),
            ]
        )
        return self.on("bad", self.pick(NAMES), verb, body)
