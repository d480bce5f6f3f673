# SPDX-License-Identifier: Apache-2.0
"""Whether two servers gave the same answer to an operation, up to what nobody may rely on: UUIDs,
the order of keys, the order of equally distant records, the last digits of cosine vectors, the
wording of errors (test_wire.py has that)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from support.chroma import Answer
from support.chroma_operations import Operation

TOLERANCE = 2e-5


def close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def same_vectors(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_vectors, a, b))
    if a is None or b is None:
        return a is b
    return close(a, b)


def where_they_differ(a: Any, b: Any, path: str = "") -> str | None:
    """The first place where two JSON values differ, and how."""
    if type(a) is type(b) is dict:
        for key in sorted({*a, *b}):
            if (key in a) != (key in b):
                return f"{path}.{key} is {'only' if key in a else 'not'} there"
            found = where_they_differ(a[key], b[key], f"{path}.{key}")
            if found:
                return found
        return None
    if type(a) is type(b) is list and len(a) == len(b):
        found_in = (where_they_differ(x, y, f"{path}[{n}]") for n, (x, y) in enumerate(zip(a, b)))
        return next(filter(None, found_in), None)
    # 1 and 1.0 are equal, but not the same; neither are 1 and True.
    return None if type(a) is type(b) and a == b else f"{path}: {a!r}, not {b!r}"


def plain_collection(collection: dict[str, Any]) -> dict[str, Any]:
    """Without its UUID, and without the number of threads, which is the machine's."""
    plain = {key: value for key, value in copy.deepcopy(collection).items() if key != "id"}
    schema = plain["schema"]
    for types in (schema["defaults"], schema["keys"]["#embedding"]):
        del types["float_list"]["vector_index"]["config"]["hnsw"]["num_threads"]
    return plain


def difference(
    operation: Operation, vkb: Answer, chroma: Answer, all_hits: Callable[[], dict[str, Any]]
) -> str | None:
    """What differs, or None. `all_hits` asks vkb for every hit of the same query."""
    if operation.kind == "modify" and (vkb.status, chroma.status) == (409, 500):
        return None  # a name that is taken: Chroma's answer is an internal error
    if operation.kind == "bad" and (vkb.status, chroma.status) == (400, 404):
        return None  # two things are wrong, and either may be said
    if vkb.status != chroma.status:
        return f"status {vkb.status} {vkb.body[:300]!r}, not {chroma.status} {chroma.body[:300]!r}"
    ours, theirs = vkb.json, chroma.json
    if vkb.status >= 400:
        same = ours["error"] == theirs["error"]
        return None if same else f"error {ours}, not {theirs}"
    if operation.kind in ("create", "lookup"):
        ours, theirs = plain_collection(ours), plain_collection(theirs)
    elif operation.kind == "list":
        ours = sorted(map(plain_collection, ours), key=lambda c: c["name"])
        theirs = sorted(map(plain_collection, theirs), key=lambda c: c["name"])
    elif operation.kind == "get":
        if not same_vectors(ours.pop("embeddings"), theirs.pop("embeddings")):
            return f"embeddings of {ours['ids']}"
    elif operation.kind == "query":
        return difference_of_hits(ours, theirs, all_hits)
    return where_they_differ(ours, theirs)


def records(answer: dict[str, Any], query: int) -> list[tuple[str, dict[str, Any]]]:
    columns = [c for c in ("documents", "metadatas", "uris", "embeddings") if answer[c] is not None]
    return [
        (id_, {column: answer[column][query][n] for column in columns})
        for n, id_ in enumerate(answer["ids"][query])
    ]


def difference_of_records(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    if not same_vectors(a.pop("embeddings", None), b.pop("embeddings", None)):
        return "embeddings"
    return where_they_differ(a, b)


def difference_of_hits(
    ours: dict[str, Any], theirs: dict[str, Any], all_hits: Callable[[], dict[str, Any]]
) -> str | None:
    """Their answer must be a part, in order, of all that vkb finds; ours is that part's best."""
    if ours["include"] != theirs["include"] or len(ours["ids"]) != len(theirs["ids"]):
        return f"{ours['include']} {len(ours['ids'])}, not {theirs['include']} {len(theirs['ids'])}"
    for column in ("documents", "metadatas", "uris", "embeddings", "distances"):
        if (ours[column] is None) != (theirs[column] is None):
            return f"column {column}"
    everything = all_hits()
    for query, (our_ids, their_ids) in enumerate(zip(ours["ids"], theirs["ids"])):
        distances = dict(zip(everything["ids"][query], everything["distances"][query]))
        for name, answer, ids in (("vkb", ours, our_ids), ("chroma", theirs, their_ids)):
            unknown = [id_ for id_ in ids if id_ not in distances]
            if unknown:
                return f"query {query}: {name} has {unknown}, which vkb does not find at all"
            known = [distances[id_] for id_ in ids]
            if not all(a <= b + TOLERANCE * max(1, abs(b)) for a, b in zip(known, known[1:])):
                return f"query {query}: {name}'s hits are not in order: {list(zip(ids, known))}"
            if answer["distances"] and not same_vectors(answer["distances"][query], known):
                return (
                    f"query {query}: {name}'s distances {answer['distances'][query]}, not {known}"
                )
        best = sorted(distances.values())[: len(our_ids)]
        if not same_vectors(sorted(distances[id_] for id_ in our_ids), best):
            return f"query {query}: vkb left out a nearer record"
        if len(their_ids) > len(our_ids):
            return f"query {query}: {len(our_ids)} hits, not {len(their_ids)}"
        mine = dict(records(ours, query))
        for id_, record in records(theirs, query):
            found = id_ in mine and difference_of_records(mine[id_], record)
            if found:
                return f"query {query}: record {id_}: {found}"
    return None


def missed(ours: dict[str, Any], theirs: dict[str, Any]) -> int:
    """How many hits Chroma's approximate search did not find."""
    return sum(max(0, len(a) - len(b)) for a, b in zip(ours["ids"], theirs["ids"]))
