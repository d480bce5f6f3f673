# SPDX-License-Identifier: Apache-2.0
"""A request and the answer it must have: what the tables of support/wire are made of."""

from __future__ import annotations

import base64
import json
import re
import struct
from dataclasses import dataclass

NO_UUID = "00000000-0000-0000-0000-000000000000"
ARGUMENT = "InvalidArgumentError"
MISSING = "NotFoundError"
OTHER = "ChromaError"
NAME_RULE = (
    "Expected a name containing 3-512 characters from [a-zA-Z0-9._-], starting and ending with a "
    "character in [a-zA-Z0-9]. Got: "
)
LENGTHS = "Inconsistent number of IDs, embeddings, documents, URIs and metadatas"
# vkb goes on to say what is invalid.
WHERE = re.compile("Invalid where clause(: .+)?", re.DOTALL)
WHERE_DOCUMENT = re.compile("Invalid where document clause(: .+)?", re.DOTALL)
BAD_METADATA = "Validation error: metadatas: Invalid metadata at index 0"
NOT_A_UUID = re.compile(".*UUID.*")
SHORT_DATABASE = "database name must be at least 3 characters"
DROPPED = -1  # instead of a status: the server drops the connection


@dataclass(frozen=True)
class Expected:
    """`message` is the whole text or a pattern for all of it; `body` the JSON, or a check of it."""

    status: int
    error: str | None = None
    message: str | re.Pattern | None = None
    body: object = None


@dataclass(frozen=True)
class Row:
    method: str
    path: str
    request: object
    expected: Expected
    vkb: Expected | None = None  # where vkb differs on purpose
    why: str = ""
    headers: dict | None = None

    def name(self) -> str:
        request = self.request if isinstance(self.request, bytes) else json.dumps(self.request)
        shown = "" if self.request is None else f" {request[:70]}"
        headers = "" if not self.headers else f" {self.headers}"
        return re.sub(r"[^\x21-\x7e]+", " ", f"{self.method} {self.path[:60]}{shown}{headers}")


def ok(body: object = None, status: int = 200) -> Expected:
    return Expected(status, body=body)


def bad(message: str | re.Pattern) -> Expected:
    return Expected(400, ARGUMENT, message)


def missing(message: str | re.Pattern) -> Expected:
    return Expected(404, MISSING, message)


def unparsable() -> Expected:
    return bad(re.compile("Failed to parse the request body as JSON: .+", re.DOTALL))


def shape(place: str) -> Expected:
    """JSON of the wrong shape; `place` is the path of what is wrong, or the reason itself. vkb may
    name a place inside of that one, and does not say the column."""
    start = "Failed to deserialize the JSON body into the target type: "
    return Expected(422, OTHER, re.compile(re.escape(start + place) + r"[\[\]\d.]*(:? .+)?"))


def no_collection(uuid: str) -> Expected:
    return missing(re.compile(rf"Collection \[{uuid}\] does not exist\.?"))


def query_string(place: str) -> Expected:
    return bad(re.compile(re.escape(f"Failed to deserialize query string: {place}") + ".*"))


def floats(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def rows(method: str, path: str, *cases: tuple) -> list[Row]:
    """Rows of one route: (request, expected[, what vkb does, why])."""
    return [Row(method, path, *case) for case in cases]
