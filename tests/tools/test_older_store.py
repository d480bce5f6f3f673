# SPDX-License-Identifier: Apache-2.0
"""A store of schema 1 and segment format 1 (tests/golden/README.md): read as is, and converted."""

from __future__ import annotations

import json
import math
import os
import pathlib
import sqlite3
import struct
import tarfile

import pytest
import xxhash

from support.cli import is_one_error_line, lines

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
SCHEMA = 4  # as this version writes it
DIM = 128
SEALED = 4100  # records in the segment, which has a graph
REMOVED = 20  # of them, at the beginning
REPLACED = range(40, 60)
ADDED = range(SEALED, SEALED + 20)


def vector(number: int) -> list[float]:
    values = [0.0] * DIM
    values[:5] = [4, *(number // 8**digit % 8 - 4 for digit in range(4))]
    return values


def record(number: int) -> dict:
    return {
        "id": f"r{number}",
        "embedding": vector(number + 3000 if number in REPLACED else number),
        "document": f"of group {number % 7}",
        "metadata": {"n": number},
    }


RECORDS = {f"r{n}": record(n) for n in range(REMOVED, SEALED + len(ADDED))}


@pytest.fixture
def store(store_dir):
    with tarfile.open(GOLDEN / "store_v1.tar.xz") as archive:
        # As extractall(filter="data"), which Debian 12's Python does not know.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(store_dir)
    assert versions(store_dir) == (1, {1})
    return store_dir


def versions(store: pathlib.Path) -> tuple[int, set[int]]:
    """Of the database's schema and of the segments' format."""
    database = sqlite3.connect(store / "vkb.sqlite3")
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    database.close()
    headers = [path.read_bytes()[:12] for path in (store / "segments").iterdir()]
    return schema, {struct.unpack("<8xI", header)[0] for header in headers}


def distance(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True) if x)
    return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def expect_answers(vkb, store, records):
    """Through the graph and the log, with filters and without: as good as comparing with all."""
    for number in (7, 45, 1000, 4105):
        query = vector(number)
        for least in (0, 3700, 4090):
            flags = ["--where", json.dumps({"n": {"$gte": least}})] if least else []
            done = vkb("query", "--vector", json.dumps(query), "-k", "10", "--ef", "400", "--json",
                       "--path", store, *flags)  # fmt: skip
            answer = json.loads(done.stdout)
            nearest = sorted(
                distance(query, each["embedding"])
                for each in records.values()
                if each["metadata"]["n"] >= least
            )[:10]
            assert answer["distances"][0] == pytest.approx(nearest, abs=1e-5)
            for id, found in zip(answer["ids"][0], answer["distances"][0], strict=True):
                assert found == pytest.approx(distance(query, records[id]["embedding"]), abs=1e-5)
    done = vkb("get", "--where-document", '{"$contains": "of group 3"}', "--include", "documents",
               "--json", "--path", store)  # fmt: skip
    assert sorted(json.loads(done.stdout)["ids"]) == sorted(
        id for id, each in records.items() if each["metadata"]["n"] % 7 == 3
    )


def expect_records(vkb, store, records):
    exported = vkb("export", "--jsonl", "-", "--path", store).stdout
    found = {each["id"]: each for each in map(json.loads, exported.splitlines())}
    assert found == records


def test_todays_program_makes_the_same_records(vkb, store_dir):
    """With VKB_WRITE_GOLDEN=1 in the environment it keeps the store as a golden file."""
    at = ["--collection", "notes", "--path", store_dir]
    before = ({**record(n), "embedding": vector(n)} for n in range(SEALED))
    vkb("add", "--jsonl", "-", "--m", "3", "--ef-construction", "100", *at, input=lines(before))
    vkb("compact", *at)
    vkb("delete", "--where", json.dumps({"n": {"$lt": REMOVED}}), *at)
    vkb("add", "--jsonl", "-", *at, input=lines(map(record, [*REPLACED, *ADDED])))
    expect_records(vkb, store_dir, RECORDS)
    schema, formats = versions(store_dir)
    if "VKB_WRITE_GOLDEN" in os.environ:
        with tarfile.open(GOLDEN / f"store_v{schema}.tar.xz", "x:xz") as archive:
            for path in [store_dir / "vkb.sqlite3", *(store_dir / "segments").iterdir()]:
                archive.add(path, path.relative_to(store_dir), filter=plain)
    else:
        assert (schema, formats) == (SCHEMA, {3})


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def test_it_is_read_as_it_is(vkb, store):
    expect_answers(vkb, store, RECORDS)
    expect_records(vkb, store, RECORDS)
    assert json.loads(vkb("check", "--deep", "--json", "--path", store).stdout)["ok"]
    assert versions(store) == (1, {1})


def test_it_is_backed_up_and_restored_as_it_is(vkb, store, tmp_path):
    vkb("backup", tmp_path / "backup", "--path", store)
    vkb("restore", tmp_path / "backup", "--path", tmp_path / "restored")
    expect_records(vkb, tmp_path / "restored", RECORDS)
    assert versions(tmp_path / "restored")[1] == {1}


def test_a_write_converts_the_database_and_compact_the_segments(vkb, store):
    new = {f"r{n}": record(n) for n in range(5000, 5003)}
    vkb("add", "--jsonl", "-", "--path", store, input=lines(new.values()))
    records = {**RECORDS, **new}
    assert versions(store) == (SCHEMA, {1})
    expect_answers(vkb, store, records)
    vkb("compact", "--path", store)
    assert versions(store) == (SCHEMA, {3})
    expect_answers(vkb, store, records)
    expect_records(vkb, store, records)
    assert json.loads(vkb("check", "--deep", "--json", "--path", store).stdout)["ok"]


def test_compact_converts_a_segment_that_has_nothing_else_to_gain(vkb, store):
    vkb("compact", "--path", store)
    (segment,) = (store / "segments").iterdir()
    before = bytearray(segment.read_bytes())
    vkb("compact", "--path", store)
    assert [segment] == list((store / "segments").iterdir())  # nothing to do

    # The same file as version 1; SQLite keeps the checksum of its header too.
    relabel(store, segment, before, 1)
    assert versions(store) == (SCHEMA, {1})
    vkb("compact", "--path", store)
    assert versions(store) == (SCHEMA, {3})
    expect_records(vkb, store, RECORDS)


def relabel(store: pathlib.Path, segment: pathlib.Path, content: bytearray, version: int) -> None:
    content[8:12] = struct.pack("<I", version)
    checksum = xxhash.xxh3_64_intdigest(bytes(content[:4088]))
    content[4088:4096] = struct.pack("<Q", checksum)
    segment.write_bytes(content)
    database = sqlite3.connect(store / "vkb.sqlite3")
    signed = checksum - (1 << 64) if checksum >> 63 else checksum
    database.execute("UPDATE segment SET checksum=?", (signed,))
    database.commit()
    database.close()
    seal_database(store / "vkb.sqlite3")


def seal_database(path: pathlib.Path) -> None:
    """Gives pages that SQLite alone has written the checksums that vkb expects."""
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    for page in range(len(content) // size):
        at = page * size
        number = (page + 1) * 0x9E3779B97F4A7C15
        checksum = xxhash.xxh3_64_intdigest(bytes(content[at : at + size - 8])) ^ number
        content[at + size - 8 : at + size] = struct.pack("<Q", checksum & ((1 << 64) - 1))
    path.write_bytes(content)


def test_a_newer_segment_is_refused_and_kept(vkb, store):
    (segment,) = (store / "segments").iterdir()
    content = bytearray(segment.read_bytes())
    content[8:12] = struct.pack("<I", 4)
    content[4088:4096] = struct.pack("<Q", xxhash.xxh3_64_intdigest(bytes(content[:4088])))
    segment.write_bytes(content)
    problem = (
        f"segment {segment.name}: its format is version 4, this program reads up to 3; "
        "use a newer vkb"
    )
    for arguments in (
        ["query", "--vector", json.dumps(vector(7))],
        ["compact"],
        ["backup", "copy"],
        ["export", "--jsonl", "-"],
    ):
        done = vkb(*arguments, "--path", store, check=False)
        assert done.returncode == 1
        assert is_one_error_line(done.stderr)
        assert problem in done.stderr
    for verb in ("check", "repair"):
        done = vkb(verb, "--path", store, "--json", check=False)
        assert done.returncode == 1
        (found,) = [
            each
            for each in json.loads(done.stdout)["problems"]
            if each["object"] == f"segment {segment.name}"
        ]
        assert f"{found['object']}: {found['message']}" == problem
        assert not found["repairable"]
    assert segment.read_bytes() == content
    assert vkb("count", "--path", store).stdout == f"{len(RECORDS)}\n"
