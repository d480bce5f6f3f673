# SPDX-License-Identifier: Apache-2.0
"""Writes knowledge bases into Redis the way LlamaIndex's RedisVectorStore does.

A chunk of text ("node") becomes one hash:

    <prefix><node id>  id, doc_id, text, vector (dim little-endian float32), one field for each
                       metadata entry (as text), _node_content (JSON, its "text" always ""),
                       _node_type, document_id, ref_doc_id

`layout` names the llama-index-core release whose JSON is written: "0.10", "0.12" or "0.14". They
differ in the order and spelling of keys and in how non-ASCII text is escaped. Defective records of
every kind in BAD_KINDS, and keys that only look as if they belonged, can be added.

As a program: python tests/support/kb.py --port 6379 -n 1000 --bad all=2 --manifest odd.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import redis

LAYOUTS = ("0.10", "0.12", "0.14")
IDS = uuid.UUID("0d1b4c52-7f0e-4a56-9a3b-7c1c1f0f6a11")

# What is wrong with the record, and nothing else is.
BAD_KINDS = {
    "missing_vector": "there is no vector field",
    "wrong_dim": "the vector has half as many floats",
    "odd_bytes": "the vector's bytes are not a multiple of 4",
    "float64": "the vector was written as float64",
    "nan": "one component is NaN",
    "inf": "one component is infinite",
    "zero": "every component is 0",
    "bad_json": "_node_content breaks off in the middle",
    "no_node_content": "there is no _node_content",
    "empty_text": "the text is empty",
    "missing_text": "there is no text, neither as a field nor in _node_content",
    "text_in_node": "the text is in _node_content only",
    "huge_text": "the text has 5 MB",
    "bad_utf8": "the text is not UTF-8",
    "dup_id": "another key holds a node of the same id",
    "meta_clash": "a metadata entry called text has replaced the text",
    "wrong_type": "the key is not a hash",
    "expiring": "the key has a time to live",
    "empty_hash_like": "the hash has no field of the layout",
}
OTHER_TYPES = ("string", "list", "set", "zset", "stream")
HUGE_TEXT_BYTES = 5 * 1024 * 1024
TOPICS = ("storage", "network", "kernel", "compiler", "security")
VOCABULARY = (
    "the cache keeps recent pages so a second reader need not wait for the disk while a writer "
    "appends to its log and every commit is synced before an answer leaves the server"
).split()


@dataclass
class Chunk:
    """One node: a piece of a document with its embedding (dim floats)."""

    id: str
    text: str
    vector: np.ndarray
    metadata: dict = field(default_factory=dict)
    document_id: str | None = None
    relationships: dict = field(default_factory=dict)


# ------------------------------------------------------------------------------ the layout


def node_content(chunk: Chunk, layout: str = "0.14", text: str = "") -> str:
    """The JSON of _node_content; LlamaIndex leaves `text` empty there."""
    known = {
        "id_": chunk.id,
        "embedding": None,
        "metadata": chunk.metadata,
        "excluded_embed_metadata_keys": [],
        "excluded_llm_metadata_keys": [],
        "relationships": chunk.relationships,
        "text": text,
        "mimetype": "text/plain",
        "start_char_idx": 0,
        "end_char_idx": len(chunk.text),
        "text_template": "{metadata_str}\n\n{content}",
        "metadata_template": "{key}: {value}",
        "metadata_separator": "\n",
        "metadata_seperator": "\n",  # sic: so spelled up to 0.12
        "class_name": "TextNode",
    }
    first = ["id_", "embedding", "metadata", "excluded_embed_metadata_keys"]
    first += ["excluded_llm_metadata_keys", "relationships"]
    body = ["text", "mimetype", "start_char_idx", "end_char_idx"]
    order = {
        "0.10": [*first, *body, "text_template", "metadata_template", "metadata_seperator"],
        "0.12": [
            *first,
            "metadata_template",
            "metadata_separator",
            *body,
            "metadata_seperator",
            "text_template",
        ],
        "0.14": [*first, "metadata_template", "metadata_separator", *body, "text_template"],
    }[layout]
    members = {name: known[name] for name in [*order, "class_name"]}
    return json.dumps(members, ensure_ascii=layout != "0.14")


def field_value(value: object) -> bytes:
    """A metadata value as the client sends it. LlamaIndex cannot store booleans, null, lists or
    objects in Redis at all; they are written as JSON so that a test can see what becomes of them.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bool, list, dict)) or value is None:
        return json.dumps(value, ensure_ascii=False).encode()
    return repr(value).encode()


def hash_fields(chunk: Chunk, layout: str = "0.14") -> dict[str, bytes]:
    """The fields of the chunk's hash. A metadata entry replaces a field of the same name, as it
    does in LlamaIndex."""
    document = (chunk.document_id or "None").encode()
    return {
        "id": chunk.id.encode(),
        "doc_id": document,
        "text": chunk.text.encode(),
        "vector": np.asarray(chunk.vector, "<f4").tobytes(),
        **{name: field_value(value) for name, value in chunk.metadata.items()},
        "_node_content": node_content(chunk, layout).encode(),
        "_node_type": b"TextNode",
        "document_id": document,
        "doc_id": document,
        "ref_doc_id": document,
    }


def link(chunks: list[Chunk]) -> None:
    """Gives the chunks of one document their SOURCE (1), PREVIOUS (2) and NEXT (3)."""

    def related(node_id: str, node_type: str, metadata: dict, text: str) -> dict:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {
            "node_id": node_id,
            "node_type": node_type,
            "metadata": metadata,
            "hash": digest,
            "class_name": "RelatedNodeInfo",
        }

    for i, chunk in enumerate(chunks):
        if chunk.document_id is not None:
            chunk.relationships["1"] = related(
                chunk.document_id, "4", chunks[0].metadata, chunk.document_id
            )
        if i > 0:
            before = chunks[i - 1]
            chunk.relationships["2"] = related(before.id, "1", before.metadata, before.text)
        if i + 1 < len(chunks):
            after = chunks[i + 1]
            chunk.relationships["3"] = related(
                after.id, "1", {}, after.text
            )  # NEXT has no metadata yet


# --------------------------------------------------------------------------------- writing


def write(
    client: redis.Redis,
    chunks: Iterable[Chunk],
    prefix: str = "doc:",
    layout: str = "0.14",
    batch: int = 500,
) -> list[str]:
    """Stores the chunks, `batch` commands a round trip; returns their keys."""
    keys = []
    pipe = client.pipeline(transaction=False)
    for chunk in chunks:
        keys.append(prefix + chunk.id)
        pipe.hset(keys[-1], mapping=hash_fields(chunk, layout))
        if len(pipe) >= batch:
            pipe.execute()
    pipe.execute()
    return keys


def random_chunks(
    count: int, dim: int = 768, seed: int = 1, chunks_per_document: int = 8, spread: float = 0.7
) -> Iterator[Chunk]:
    """Chunks of made-up text with unit vectors around some centres, linked by document. The same
    arguments give the same chunks."""
    rng = np.random.default_rng(seed)
    words = random.Random(seed)
    centres = rng.standard_normal((max(4, min(256, count // 100)), dim), dtype=np.float32)
    for start in range(0, count, chunks_per_document):
        document = str(uuid.uuid5(IDS, f"document {seed} {start}"))
        chunks = []
        for i in range(start, min(count, start + chunks_per_document)):
            topic = int(rng.integers(len(centres)))
            vector = centres[topic] + spread * rng.standard_normal(dim, dtype=np.float32)
            sentence = " ".join(words.choices(VOCABULARY, k=words.randint(15, 60)))
            metadata = {
                "source": f"handbook-{start // chunks_per_document}.md",
                "topic": TOPICS[topic % len(TOPICS)],
                "page": i - start,
                "score": round(words.random(), 6),
                "title": f"Grüße {i}, 東京",
            }
            node_id = str(uuid.uuid5(IDS, f"node {seed} {i}"))
            text = f"Part {i}: {sentence}. Ünïcode ✓"
            chunks.append(Chunk(node_id, text, vector / np.linalg.norm(vector), metadata, document))
        link(chunks)
        yield from chunks


def create_index(
    client: redis.Redis,
    dim: int,
    name: str = "llama_index",
    prefix: str = "doc",
    algorithm: str = "HNSW",
    metric: str = "COSINE",
    wait: bool = True,
) -> None:
    """The index LlamaIndex makes (Redis Stack only). Its prefix lacks the separator, so keys such
    as "document_status:1" fall under it too."""
    vector = ["TYPE", "FLOAT32", "DIM", dim, "DISTANCE_METRIC", metric]
    if algorithm == "HNSW":
        vector += ["M", 16, "EF_CONSTRUCTION", 200, "EF_RUNTIME", 10, "EPSILON", 0.01]
    tags = ["id", "TAG", "SEPARATOR", ",", "doc_id", "TAG", "SEPARATOR", ","]
    schema = [
        *tags,
        "text",
        "TEXT",
        "WEIGHT",
        1,
        "vector",
        "VECTOR",
        algorithm,
        len(vector),
        *vector,
    ]
    client.execute_command(
        "FT.CREATE", name, "ON", "HASH", "PREFIX", 1, prefix, "SCORE", "1.0", "SCHEMA", *schema
    )
    while wait and not index_complete(client, name):
        pass


def index_info(client: redis.Redis, name: str) -> dict:
    """FT.INFO as a dictionary, whichever protocol the client speaks."""
    reply = client.execute_command("FT.INFO", name)
    if not isinstance(reply, dict):
        reply = dict(zip(reply[::2], reply[1::2]))
    return {k.decode() if isinstance(k, bytes) else k: v for k, v in reply.items()}


def index_complete(client: redis.Redis, name: str) -> bool:
    info = index_info(client, name)
    return int(info["indexing"]) == 0 and float(info["percent_indexed"]) >= 1


# ------------------------------------------------------------------------ defective records


def write_bad(
    client: redis.Redis,
    kinds: dict[str, int],
    dim: int = 768,
    prefix: str = "doc:",
    layout: str = "0.14",
    seed: int = 7,
    time_to_live: int = 3600,
) -> list[dict]:
    """Adds kinds[kind] records of each kind of BAD_KINDS; returns the manifest, one
    {"key", "kind", ...} for each key written."""
    rng = np.random.default_rng(seed)
    manifest: list[dict] = []
    for kind, count in kinds.items():
        if kind not in BAD_KINDS:
            raise ValueError(
                f"no kind of bad record is called {kind!r}; there are: {', '.join(BAD_KINDS)}"
            )
        for i in range(count):
            chunk = bad_chunk(kind, i, dim, rng)
            key = prefix + chunk.id
            entry = {"key": key, "kind": kind, "id": chunk.id}
            manifest.append(entry)
            if kind == "wrong_type":
                entry["type"] = OTHER_TYPES[i % len(OTHER_TYPES)]
                write_other_type(client, key, entry["type"])
                continue
            client.hset(key, mapping=spoil(kind, chunk, layout))
            if kind == "expiring":
                client.expire(key, time_to_live)
            if kind == "dup_id":
                twin = prefix + str(uuid.uuid5(IDS, f"twin of {chunk.id}"))
                client.hset(twin, mapping=hash_fields(bad_chunk(kind, i, dim, rng), layout))
                manifest.append({"key": twin, "kind": kind, "id": chunk.id, "same_id_as": key})
    return manifest


def bad_chunk(kind: str, number: int, dim: int, rng: np.random.Generator) -> Chunk:
    vector = rng.standard_normal(dim, dtype=np.float32)
    chunk_id = str(uuid.uuid5(IDS, f"bad {kind} {number}"))
    metadata = {"source": "bad records", "kind": kind, "number": number}
    text = f"A record of kind {kind}, number {number}."
    return Chunk(chunk_id, text, vector / np.linalg.norm(vector), metadata)


def spoil(kind: str, chunk: Chunk, layout: str) -> dict[str, bytes]:
    """The chunk's fields with the one defect."""
    if kind == "meta_clash":
        chunk.metadata["text"] = "metadata, not the text"
    if kind in ("nan", "inf"):
        chunk.vector[len(chunk.vector) // 2] = np.nan if kind == "nan" else np.inf
    fields = hash_fields(chunk, layout)
    vector, content = fields["vector"], fields["_node_content"]
    replaced = {
        "wrong_dim": ("vector", vector[: len(vector) // 8 * 4]),
        "odd_bytes": ("vector", vector[:-1]),
        "float64": ("vector", chunk.vector.astype("<f8").tobytes()),
        "zero": ("vector", bytes(len(vector))),
        "bad_json": ("_node_content", content[: len(content) // 2]),
        "empty_text": ("text", b""),
        "text_in_node": ("_node_content", node_content(chunk, layout, chunk.text).encode()),
        "bad_utf8": ("text", b"caf\xe9 \xf0\x9f\x98 \xff"),
    }
    if kind == "huge_text":
        fields["text"] = (b"all work and no play " * (HUGE_TEXT_BYTES // 21 + 1))[:HUGE_TEXT_BYTES]
    elif kind in replaced:
        name, value = replaced[kind]
        fields[name] = value
    removed = {
        "missing_vector": "vector",
        "no_node_content": "_node_content",
        "missing_text": "text",
        "text_in_node": "text",
    }
    if kind in removed:
        del fields[removed[kind]]
    return {"colour": b"blue"} if kind == "empty_hash_like" else fields


def write_other_type(client: redis.Redis, key: str, kind: str) -> None:
    if kind == "string":
        client.set(key, "not a hash")
    elif kind == "list":
        client.rpush(key, "a", "b")
    elif kind == "set":
        client.sadd(key, "a", "b")
    elif kind == "zset":
        client.zadd(key, {"a": 1, "b": 2})
    else:
        client.xadd(key, {"event": "started"})


def write_others(
    client: redis.Redis, count: int, near_prefix: str = "document_status:"
) -> list[str]:
    """Adds `count` keys of an application that shares the database: all types, and hashes whose
    names begin like the knowledge base's; returns the keys."""
    keys = []
    for i in range(count):
        kind = ("near", "hash", *OTHER_TYPES)[i % 7]
        key = f"{near_prefix}{i}" if kind == "near" else f"app:{kind}:{i}"
        keys.append(key)
        if kind in ("near", "hash"):
            client.hset(key, mapping={"status": "done", "text": f"entry {i}", "id": str(i)})
        else:
            write_other_type(client, key, kind)
    return keys


def parse_kinds(text: str) -> dict[str, int]:
    """ "nan=3,zero" -> {"nan": 3, "zero": 1}; "all=2" -> two of each."""
    kinds: dict[str, int] = {}
    for item in filter(None, text.split(",")):
        name, _, number = item.partition("=")
        kinds.update(dict.fromkeys(BAD_KINDS if name == "all" else [name], int(number or 1)))
    return kinds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("-n", type=int, default=1000, help="how many chunks")
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--prefix", default="doc:")
    parser.add_argument("--layout", choices=LAYOUTS, default="0.14")
    parser.add_argument(
        "--bad", type=parse_kinds, default={}, help="kind[=count],... or all[=count]"
    )
    parser.add_argument("--others", type=int, default=0, help="unrelated keys")
    parser.add_argument("--index", help="make an index of this name (Redis Stack)")
    parser.add_argument("--manifest", help="write what is odd to this file")
    a = parser.parse_args()
    client = redis.Redis(host=a.host, port=a.port)
    written = write(client, random_chunks(a.n, a.dim, a.seed), a.prefix, a.layout)
    odd = write_bad(client, a.bad, a.dim, a.prefix, a.layout)
    others = write_others(client, a.others)
    if a.index:
        create_index(client, a.dim, a.index, a.prefix.rstrip(":"))
    if a.manifest:
        with open(a.manifest, "w", encoding="utf-8") as file:
            json.dump({"nodes": len(written), "odd": odd, "others": others}, file, indent=1)
    print(json.dumps({"nodes": len(written), "bad": len(odd), "others": len(others)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
