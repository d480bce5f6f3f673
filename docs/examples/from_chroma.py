# SPDX-License-Identifier: Apache-2.0
"""Moves a Chroma database directory into a vkb store, and compares the two record by record:

    python docs/examples/from_chroma.py --from chroma --to kb [--collection NAME]

Needs chromadb and vkb. Nothing may write to the source meanwhile. Existing records of the target
are updated, so it can be run again. Ends with 1 when something differs.
"""

import argparse
import json
import pathlib
import sys

import chromadb
import numpy as np

import vkb

BATCH = 1000
COLUMNS = ["embeddings", "documents", "metadatas", "uris"]


def named(stored, space):
    """Stands for an embedding function in the configuration of a collection; is never called."""
    members = {
        "name": staticmethod(lambda: stored["name"]),
        "get_config": lambda _: stored.get("config") or {},
        "default_space": lambda _: space,
        "supported_spaces": lambda _: [space],
    }
    return type("Named", (), members)()


def configuration(collection):
    """The parameters of the graph and, where it is stored, the embedding function."""
    stored = collection.configuration_json
    hnsw = {key: value for key, value in (stored.get("hnsw") or {}).items() if value is not None}
    function = stored.get("embedding_function") or {}
    return {"hnsw": hnsw, "function": function if function.get("type") == "known" else None}


def batches(source):
    for offset in range(0, source.count(), BATCH):
        found = source.get(limit=BATCH, offset=offset, include=COLUMNS)
        found["embeddings"] = np.asarray(found["embeddings"], dtype=np.float32)
        yield offset + len(found["ids"]), found


def records(found):
    """By id: what has to be the same, to the bit and the type."""
    columns = zip(found["ids"], *(found[name] for name in COLUMNS))
    return {
        record_id: (vector.tobytes(), document, json.dumps(metadata, sort_keys=True), uri)
        for record_id, vector, document, metadata, uri in columns
    }


def copy(source, client, label):
    wanted = configuration(source)
    function = wanted.pop("function")
    if function is not None:
        wanted["embedding_function"] = named(function, wanted["hnsw"].get("space", "l2"))
    target = client.get_or_create_collection(
        source.name, configuration=wanted, metadata=source.metadata, embedding_function=None
    )
    total = source.count()
    for done, found in batches(source):
        target.upsert(found["ids"], **{name: found[name] for name in COLUMNS})
        print(f"{label}: copied {done} of {total}", file=sys.stderr)
    return target


def compare(source, target, label):
    """How many records there are, and what differs, the collection itself being one thing."""
    count, different = source.count(), 0
    for done, found in batches(source):
        theirs = records(found)
        ours = records(target.get(ids=found["ids"], include=COLUMNS))
        different += sum(ours.get(record_id) != theirs[record_id] for record_id in theirs)
        print(f"{label}: compared {done} of {count}", file=sys.stderr)
    different += target.count() != count
    different += target.metadata != source.metadata
    return count, different + (configuration(target) != configuration(source))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="source", type=pathlib.Path, required=True)
    parser.add_argument("--to", dest="target", type=pathlib.Path, required=True)
    parser.add_argument("--collection", help="only those of this name")
    arguments = parser.parse_args()
    if not (arguments.source / "chroma.sqlite3").is_file():
        parser.error(f"{arguments.source} is no Chroma database: it has no chroma.sqlite3")

    source = chromadb.PersistentClient(arguments.source)
    target = vkb.PersistentClient(arguments.target)
    admin = vkb.AdminClient(target.get_settings())
    databases = [d["name"] for d in chromadb.AdminClient(source.get_settings()).list_databases()]
    collections = count = different = 0
    for database in databases:
        if database not in [d["name"] for d in admin.list_databases()]:
            admin.create_database(database)
        source.set_database(database)
        target.set_database(database)
        for each in source.list_collections():
            if arguments.collection in (None, each.name):
                label = f"{database}/{each.name}"
                found = compare(each, copy(each, target, label), label)
                print(f"{label}: {found[0]} records, {found[1]} differences")
                collections, count = collections + 1, count + found[0]
                different += found[1]
    print(f"{collections} collections, {count} records, {different} differences")
    return 0 if collections and not different else 1


if __name__ == "__main__":
    sys.exit(main())
