# SPDX-License-Identifier: Apache-2.0
"""Writes the first files of the corpora of segment, manifest, node_content and redis_reply:
python3 tests/fuzz/make_corpus.py. Files that fuzzing added stay as they are."""

from __future__ import annotations

import base64
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
TESTS = HERE.parent
RECORDS = json.loads((TESTS / "importers/data/llama_index_records.json").read_text())
NAN = struct.pack("<I", 0x7FC00000)
ONES = b"\xff" * 4


def write(target: str, name: str, *parts: bytes) -> None:
    directory = HERE / "corpus" / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(b"".join(parts))


def short(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def long(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


# Segments: what is changed, which checksums are wrong, edits.


def at(place: int, offset: int, data: bytes) -> bytes:
    """Overwrites bytes of a section, by its number in the table, or of the header (32)."""
    return bytes([place]) + struct.pack("<H", offset) + short(data)


def fill(place: int, offset: int, count: int, value: int) -> bytes:
    return bytes([0x80 + place]) + struct.pack("<HHB", offset, count, value)


def resize(size: int) -> bytes:
    return b"\xc0" + struct.pack("<I", size)


def segments() -> None:
    header = 32
    for base, name in enumerate(("flat", "graph", "bits", "int4")):
        write("segment", name, bytes([base, 0]))
        write("segment", f"{name}_cut", bytes([base, 0]), resize(9000))
        write("segment", f"{name}_cut_and_said", bytes([base, 1]), resize(20001))
        write("segment", f"{name}_wrong_section_checksum", bytes([base, 2]), at(3, 5, b"\x01"))
        write("segment", f"{name}_wrong_header_checksum", bytes([base, 4]), at(header, 24, b"\x07"))
        write("segment", f"{name}_wrong_page_checksum", bytes([base, 8]), at(3, 5, b"\x01"))
        for number in range(15):
            write("segment", f"{name}_section_{number}_ones", bytes([base, 0]), fill(number, 0, 9999, 0xFF))
        write("segment", f"{name}_vector_nan", bytes([base, 0]), at(3, 0, NAN))
        write("segment", f"{name}_norm_nan", bytes([base, 0]), at(4, 0, NAN))
    for offset, name in ((8, "version"), (12, "section_count"), (24, "row_count"), (32, "dim"),
                         (36, "space"), (40, "m"), (44, "max_level"), (48, "level_0"), (52, "level_1")):  # fmt: skip
        for base in (0, 1):
            for value in (0, 1, 0xFFFFFFFF):
                edit = at(header, offset, struct.pack("<I", value))
                write("segment", f"header_{base}_{name}_{value:x}", bytes([base, 0]), edit)
    for field, name in ((0, "kind"), (4, "flags"), (8, "offset"), (16, "bytes")):
        for value in (0, 4096, 2**64 - 4096):
            data = struct.pack("<Q", value)[: 4 if field < 8 else 8]
            edit = at(header, 112 + 3 * 32 + field, data)
            write("segment", f"table_{name}_{value:x}", bytes([1, 0]), edit)
    for name in ("segment_v1_graph", "segment_v2_flat"):
        write("segment", f"whole_{name}", bytes([4, 0]), (TESTS / f"golden/{name}.vseg").read_bytes())


# Rows: whether the store is written to, edits.

TABLES = {
    "segment": "segment_id collection_id file row_count byte_count checksum has_graph",
    "collection": "collection_id uuid database_id name dim space m ef_construction ef_search model"
    " metadata extra record_count last_seq manifest_version changes",
    "tombstone": "segment_id slot seq",
    "vector_log": "seq collection_id row_id vector",
    "record": "row_id collection_id id uri origin metadata document",
    "metadata_key": "key_id collection_id key kind",
    "posting_block": "block_id key_id first_value last_value entry_count rows entries",
    "posting": "key_id value row_id",
    "posting_removed": "key_id value row_id",
    "document_index": "collection_id indexed_through",
    "document_pending": "row_id collection_id document",
    "database": "database_id uuid tenant name",
    "tenant": "name",
}
UPDATE, INSERT, DELETE = 0, 5, 7
VALUES = {
    "null": b"\x00",
    "minus_one": b"\x01\xff",
    "seven": b"\x01\x07",
    "huge": b"\x02" + struct.pack("<q", 2**63 - 1),
    "wide": b"\x02" + struct.pack("<q", 2**32 + 1),
    "real": b"\x03" + struct.pack("<d", 1e300),
    "text": b"\x04" + short(b"../odd\xff"),
    "blob": b"\x05" + long(NAN * 4),
    "changed": b"\x06" + struct.pack("<H", 5) + short(b"\xff\x00"),
    "cut": b"\x06" + struct.pack("<H", 3) + short(b""),
}


def row(what: int, table: str, number: int, column: int, value: bytes) -> bytes:
    return bytes([what, list(TABLES).index(table), number, column]) + value


def manifests() -> None:
    write("manifest", "sound", b"\x00")
    write("manifest", "sound_written", b"\x01")
    for table, columns in TABLES.items():
        for column, name in enumerate(columns.split()):
            # All on one row would end at the first: some in one file, each on a row of its own.
            edits = [row(UPDATE, table, i, column, value) for i, value in enumerate(VALUES.values())]
            write("manifest", f"{table}_{name}", b"\x00", *edits)
        for name, value in VALUES.items():
            if table in ("collection", "segment", "record", "vector_log", "tombstone"):
                edits = [row(UPDATE, table, 0, i, value) for i in range(len(columns.split()))]
                write("manifest", f"{table}_all_{name}", b"\x00", *edits)
        write("manifest", f"{table}_deleted", b"\x01", row(DELETE, table, 0, 0, b""))
        write("manifest", f"{table}_doubled", b"\x01", row(INSERT, table, 0, 0, VALUES["seven"]))


# Records: the layout, the key, the fields.


def record(layout: int, key: bytes, fields: dict[bytes, bytes], last: bytes) -> bytes:
    pairs = b"".join(short(name) + long(value) for name, value in fields.items())
    return bytes([layout]) + short(key) + bytes([len(fields)]) + pairs + last


def records() -> None:
    vectors = {0: struct.pack("<2f", 1.5, -0.0), 1: struct.pack("<2d", 0.1, 2), 2: b"\x00\x3c\x01\x80", 3: b"\x80\x3f\x00\x40"}
    for each in RECORDS:
        if each["layout"] != "0.14":
            continue
        fields = {name.encode(): base64.b64decode(value) for name, value in each["fields"].items()}
        last = fields.pop(b"_node_content", b"")
        if len(fields.get(b"vector", b"")) == 32:
            fields[b"vector"] = fields[b"vector"][:8]
        name = f"llama_index_{each['kind']}"
        write("node_content", name, record(0, each["key"].encode()[4:], fields, last))
        write("node_content", f"{name}_cut", record(0, b"x", fields, last[: len(last) // 2]))
    texts = {
        "numbers": b'{"a":1,"b":-1.5,"c":1e400,"d":18446744073709551615,"e":9007199254740993,"f":1.0,"g":-0.0}',
        "arrays": b'{"a":[],"b":[1,2],"c":[1,2.5],"d":["x",1],"e":[true,false],"f":[null],"g":[[1]],"h":{"i":1}}',
        "keys": b'{"":1,"#a":2,"$b":3,"\\u0000":4,"a":5,"a":6,"vector":7,"text":8,"id":9}',
        "texts": '{"a":"\\ud83d\\ude00\\u0000","b":"\U0001f600","c":"\\ud800","d":"é\\n\\t"}'.encode(),
        "deep": b'{"a":' * 300,
        "array": b"[1,2]",
    }
    for layout in range(4):
        name = (b"vector", b"embedding", b"content_vector", b"vector")[layout]
        fields = {name: vectors[layout], b"number": b"7", b"other": b"nan", b"text": b"a text", b"content": b""}
        for text, content in texts.items():
            if layout == 0:
                content = b'{"id_":"n1","metadata":' + content + b',"text_resource":{"text":"t"}}'
            write("node_content", f"layout_{layout}_{text}", record(layout, b"k", fields, content))
    for text, content in texts.items():
        document = b'[{"id":"d","text":"x","meta":{"embedding":[1.5,-2e-7]},"metadata":' + content + b"}]"
        write("node_content", f"json_{text}", bytes([4]) + short(b"k") + document)
    origin = {"key": "doc:1", "hash": "0" * 32, "fields": [["a", {"base64": "AAA="}]], "absent": ["a"], "names": ["v", "t", "i"]}
    for name, value in (("hash", origin), ("json", {**origin, "json": ["[", "]"]}), ("wrong", {**origin, "fields": 5})):
        write("node_content", f"origin_{name}", bytes([0xF0]) + short(b"k"), json.dumps(value).encode())
        write("node_content", f"origin_{name}_no_vector", bytes([0xF1]) + short(b"k"), json.dumps(value).encode())


# Replies.


def resp(value: object) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    if isinstance(value, str):
        return f"{'' if value.startswith('-') else '+'}{value}\r\n".encode()
    return b"*%d\r\n" % len(value) + b"".join(map(resp, value))


def replies() -> None:
    hashes: dict[bytes, list[bytes]] = {}
    for each in RECORDS:
        if each["layout"] == "0.14" and each["kind"] in ("good", "bad_json", "nan", "bad_utf8", "text_in_node"):
            flat = [part for name, value in each["fields"].items() for part in (name.encode(), base64.b64decode(value))]
            hashes.setdefault(each["key"].encode(), flat)
    keys = list(hashes)
    page = resp([b"0", keys])
    read = b"".join(resp(hashes[key]) for key in sorted(keys))
    unsorted = b"".join(resp(hashes[key]) for key in keys)
    for path in sorted((TESTS / "importers/data").glob("*.resp2")):
        write("redis_reply", f"one_{path.stem}", b"\x00\x00", path.read_bytes())
    info = (TESTS / "importers/data/ftinfo_hash_hnsw.resp2").read_bytes().replace(b":768", b":8")
    for name, value in (("numbers", ["index_name", "i", "num_docs", b"inf", "percent_indexed", b"nan"]),
                        ("huge", ["index_name", "i", "num_docs", b"1e300", "indexing", b"-1e300"]),
                        ("error", "-ERR no such index"), ("nil", None), ("hash", hashes[keys[0]])):  # fmt: skip
        write("redis_reply", f"one_{name}", b"\x00\x00", resp(value))
    write("redis_reply", "one_most_elements", b"\x00\x00", b"*2147483647\r\n")
    write("redis_reply", "one_longest", b"\x00\x00", b"$9223372036854775807\r\nx")
    write("redis_reply", "one_nested", b"\x00\x00", b"*1\r\n" * 20)
    # An index, the scan of its keys, their hashes; then the same as the import reads them, and the
    # sample as the verification does.
    with_index = resp(["llama_index"]) + info + page + read
    answers = resp([1, keys[0], ["vkb_distance", b"0.5"]])
    whole = with_index + page + unsorted + resp(hashes[keys[0]]) * 3 + answers * 4
    write("redis_reply", "import_index", b"\x02\x00", whole)
    write("redis_reply", "import_index_cut", b"\x02\x00", whole[: len(whole) * 2 // 3])
    told = info + page + read + page + unsorted + resp(hashes[keys[0]]) * 3 + answers * 4
    write("redis_reply", "import_named_index", b"\x02\x01", told)
    no_index = resp("-ERR unknown command") + page + read + resp(100) + page + unsorted
    write("redis_reply", "import_prefix", b"\x02\x02", no_index + resp(hashes[keys[0]]) * 3)
    wrong = b"".join(resp("-WRONGTYPE Operation against a key") for _ in keys)
    types = b"".join(resp("ReJSON-RL") for _ in keys)
    document = b'[{"id":"a","text":"t","vector":[1,2,3,4,5,6,7,8.5],"metadata":{"n":1}}]'
    documents = b"".join(resp(document) for _ in keys)
    json_import = resp("-ERR unknown command") + page + wrong + types + documents + resp(9) + page + documents
    write("redis_reply", "import_json", b"\x02\x06", json_import + resp(document) * 3)
    # What no text of ours may be made of: types, names and values that are not UTF-8.
    first, second = keys[:2]
    two = resp([b"0", [first, second]])
    cut = b'[{"id":"b","vector":["x' + "\u00e9".encode() * 60 + b'"]}]'
    write("redis_reply", "import_json_rejected_text_is_cut", b"\x02\x06",
          resp("-ERR unknown command") + two + resp("-WRONGTYPE") * 2 + resp("ReJSON-RL") * 2
          + resp(document) + resp(cut) + resp(9) + two + resp(document) + resp(cut))  # fmt: skip
    write("redis_reply", "import_type_is_no_utf8", b"\x02\x02",
          resp("-ERR unknown command") + two + resp(hashes[first]) + resp("-WRONGTYPE") + b"+s\xff\r\n"
          + resp(9) + two + resp(hashes[first]) + resp("-WRONGTYPE") + b"+s\xff\r\n")  # fmt: skip
    named = [b"v\xff" if part == b"vector" else part for part in hashes[first]]
    write("redis_reply", "import_field_is_no_utf8", b"\x02\x00",
          resp(["llama_index"]) + info.replace(b"+vector\r", b"+v\xff\r") + two + resp(named) + resp([]) + two
          + resp(named) + resp([]))  # fmt: skip
    hello = resp("PONG") + resp(b"redis_version:6.0\r\nrun_id:a\r\n") + resp("-ERR syntax")
    write("redis_reply", "hello", b"\x03\x00", hello + whole)
    write("redis_reply", "hello_cluster", b"\x03\x00", resp("PONG") + resp(b"redis_mode:cluster\r\n"))
    write("redis_reply", "hello_no_auth", b"\x03\x00", resp("-NOAUTH Authentication required."))
    write("redis_reply", "hello_http", b"\x03\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    write("redis_reply", "hello_loading", b"\x03\x00", resp("-LOADING Redis is loading"))


segments()
manifests()
records()
replies()
