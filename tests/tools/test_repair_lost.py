# SPDX-License-Identifier: Apache-2.0
"""`vkb repair --lost`: records whose vectors are damaged are given up, all others stay (R9)."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sqlite3
import struct
import subprocess

import pytest


def test_what_is_left_of_lost_records_goes_into_a_file(vkb, tmp_path):
    store = tmp_path / "kb"
    lines = "".join(
        json.dumps(
            {
                "id": f"r{n}",
                "embedding": [n % 7, n / 100, 1.0, 0.5],
                "document": f"text {n}",
                "metadata": {"n": n},
            }
        )
        + "\n"
        for n in range(5000)
    )
    at = ["--path", store]
    vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=lines)
    vkb("compact", *at)
    segment = damage_vector(store, [0, 0.07, 1.0, 0.5])

    refused = vkb("query", "--vector", "[0,0.07,1,0.5]", "--exact", *at, check=False)
    assert refused.returncode == 1
    assert segment.name in refused.stderr
    assert "does not match its checksum" in refused.stderr
    named = json.loads(vkb("check", "--deep", "--json", *at, check=False).stdout)["problems"]
    assert any("its vector, in segment" in problem["message"] for problem in named)

    kept = vkb("repair", "--json", *at, check=False)
    assert kept.returncode == 1
    assert json.loads(kept.stdout)["lost"] == 0
    assert vkb("count", *at).stdout == "5000\n"

    lost_file = tmp_path / "lost.jsonl"
    done = json.loads(vkb("repair", "--lost", lost_file, "--json", *at).stdout)
    assert done["ok"]
    lost = [json.loads(line) for line in lost_file.read_text().splitlines()]
    assert done["lost"] == len(lost)
    assert 1 <= len(lost) <= 64
    assert any(record["id"] == "r7" for record in lost)
    for record in lost:
        n = int(record["id"][1:])
        assert record["collection"] == "notes"
        assert record["document"] == f"text {n}"
        assert record["metadata"] == {"n": n}
        assert "embedding" not in record
    assert vkb("count", *at).stdout == f"{5000 - len(lost)}\n"
    assert json.loads(vkb("check", "--deep", "--json", *at).stdout)["ok"]
    left = {json.loads(line)["id"] for line in vkb("export", "--jsonl", "-", *at).stdout.splitlines()}
    assert left == {f"r{n}" for n in range(5000)} - {record["id"] for record in lost}


def test_a_file_that_takes_no_more_keeps_its_length(vkb, vkb_binary, tmp_path):
    """What the next run adds to it begins a line, and the records are there until then."""
    store = tmp_path / "kb"
    at = ["--path", store]
    vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=record_lines(0, 5000))
    vkb("compact", *at)
    damage_vector(store, [0, 0.07, 1.0, 0.5])
    lost_file = tmp_path / "lost.jsonl"
    length = 64 << 20  # more than any other file that a repair writes
    lost_file.write_bytes(b"")
    os.truncate(lost_file, length)
    most = (length + 50, length + 50)
    refused = subprocess.run(
        [str(vkb_binary), "repair", "--lost", lost_file, *at],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, most),
    )
    assert refused.returncode == 1
    assert f"{lost_file}: cannot write to it: File too large" in refused.stderr
    assert lost_file.stat().st_size == length
    assert vkb("count", *at).stdout == "5000\n"

    done = json.loads(vkb("repair", "--lost", lost_file, "--json", *at).stdout)
    assert done["ok"]
    with lost_file.open("rb") as file:
        file.seek(length)
        lost = [json.loads(line)["id"] for line in file]
    assert "r7" in lost
    assert done["lost"] == len(lost) == 5000 - int(vkb("count", *at).stdout)


@pytest.mark.parametrize("page", ["leaf", "root"])
@pytest.mark.parametrize("ids", ["sound", "damaged"])
def test_records_whose_vectors_are_not_sealed_are_not_lost_uncounted(vkb, tmp_path, page, ids):
    """R5: their vectors are in the log only, and all that is left of those on a damaged page."""
    store = tmp_path / "kb"
    at = ["--path", store]
    add = ["add", "--jsonl", "-", "--collection", "notes", *at]
    vkb(*add, input=record_lines(0, 500))
    vkb(*add, input=record_lines(100, 400))  # an entry of the log more for each
    vkb("delete", "--id", "r150", *at)
    whole = exported(vkb, at)
    assert len(whole) == 499

    root = root_page(store, "record")
    damage_page(store, root if page == "root" else last_child(store, root))
    if ids == "damaged":
        damage_page(store, root_page(store, "sqlite_autoindex_record_1"))
    lost_file = tmp_path / "lost.jsonl"
    done = json.loads(vkb("repair", "--lost", lost_file, "--json", *at).stdout)
    assert done["ok"]
    left = exported(vkb, at)
    lost = [json.loads(line) for line in lost_file.read_text().splitlines()]
    assert done["lost"] == len(lost) == 499 - len(left) > 0
    assert (len(left) == 0) == (page == "root")
    assert all(record == whole[name] for name, record in left.items())
    assert all(record["collection"] == "notes" for record in lost)
    gone = [record for name, record in whole.items() if name not in left]
    assert sorted(record["embedding"] for record in lost) == sorted(
        record["embedding"] for record in gone
    )
    if ids == "damaged":
        assert {record["id"] for record in lost} == {""}
    else:
        assert {record["id"]: record["embedding"] for record in lost} == {
            record["id"]: record["embedding"] for record in gone
        }


def test_records_of_which_nothing_but_the_id_is_left_are_counted(vkb, tmp_path):
    """R5: neither the record nor its vector, on two damaged pages."""
    store = tmp_path / "kb"
    at = ["--path", store]
    vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=record_lines(0, 500))
    for table in ("record", "vector_log"):
        damage_page(store, last_child(store, root_page(store, table)))
    # Nor are they when the first attempt is cut short.
    refused = vkb("repair", "--lost", tmp_path / "none" / "lost.jsonl", *at, check=False)
    assert refused.returncode == 1
    problems = json.loads(vkb("check", "--json", *at, check=False).stdout)["problems"]
    assert any("in a repair that did not come to its end" in each["message"] for each in problems)
    lost_file = tmp_path / "lost.jsonl"
    done = json.loads(vkb("repair", "--lost", lost_file, "--json", *at).stdout)
    assert done["ok"]
    lost = [json.loads(line) for line in lost_file.read_text().splitlines()]
    left = exported(vkb, at)
    assert done["lost"] == len(lost) == 500 - len(left)
    assert {record["id"] for record in lost} == {f"r{n}" for n in range(500)} - left.keys()
    assert {"collection": "notes", "id": "r499"} in lost


def test_a_damaged_log_is_named_and_given_up_on_demand(vkb, vkb_binary, tmp_path):
    """R1, R8: SQLite itself would end the log at the damage, without a word."""
    store = tmp_path / "kb"
    at = ["--path", store]
    add_and_kill(vkb, vkb_binary, store)
    (store / "vkb.sqlite3-shm").unlink()
    damage_log(store)

    for verb in (["count"], ["query", "--vector", "[0,0,1,0.5]"], ["delete", "--id", "r3"], ["repair"]):
        refused = vkb(*verb, *at, check=False)
        assert refused.returncode == 1
        assert "vkb.sqlite3-wal" in refused.stderr
        assert "repair --lost" in refused.stderr
    (found,) = json.loads(vkb("check", "--json", *at, check=False).stdout)["problems"]
    assert "vkb.sqlite3-wal" in found["message"]

    done = json.loads(vkb("repair", "--lost", tmp_path / "lost.jsonl", "--json", *at).stdout)
    assert done["ok"]
    assert done["log_given_up"]
    assert "vkb.sqlite3-wal" in done["found"][0]["message"]
    assert 10 <= int(vkb("count", *at).stdout) < 20_000
    assert json.loads(vkb("check", "--deep", "--json", *at).stdout)["ok"]


def test_a_damaged_log_is_not_given_up_beside_a_reader(vkb, vkb_binary, tmp_path):
    """R8: SQLite does not compare a log again while a program has it open."""
    store = tmp_path / "kb"
    at = ["--path", store]
    add_and_kill(vkb, vkb_binary, store)
    command = [str(vkb_binary), "export", "--jsonl", "-", *map(str, at)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reading:
        assert reading.stdout.readline().startswith(b"{")  # it waits for more to be read
        damage_log(store)
        damaged = (store / "vkb.sqlite3-wal").read_bytes()
        refused = vkb("repair", "--lost", tmp_path / "lost.jsonl", *at, check=False)
        assert refused.returncode == 4
        assert "is open in a program" in refused.stderr
        assert (store / "vkb.sqlite3-wal").read_bytes() == damaged
        reading.kill()
    done = json.loads(vkb("repair", "--lost", tmp_path / "lost.jsonl", "--json", *at).stdout)
    assert done["ok"]
    assert done["log_given_up"]
    assert json.loads(vkb("check", "--deep", "--json", *at).stdout)["ok"]


@pytest.mark.parametrize("how", ["empty", "missing"])
def test_nothing_is_made_anew_over_segments(vkb, tmp_path, how):
    """R3: with an empty database all of them would be orphans, to be removed."""
    store = tmp_path / "kb"
    at = ["--path", store]
    vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=record_lines(0, 5000))
    vkb("compact", *at)
    segments = sorted(path.name for path in (store / "segments").iterdir())
    assert segments
    (store / "vkb.sqlite3").write_bytes(b"")
    if how == "missing":
        (store / "vkb.sqlite3").unlink()
    for verb in (["repair", "--lost", tmp_path / "lost"], ["repair"], ["count"], ["compact"]):
        refused = vkb(*verb, *at, check=False)
        assert refused.returncode == 1
        assert "the records of this store are lost" in refused.stderr
    assert sorted(path.name for path in (store / "segments").iterdir()) == segments


@pytest.mark.parametrize("section", ["vectors", "ids", "sorted_row_ids"])
def test_a_record_and_its_segment_may_be_damaged_at_once(vkb, tmp_path, section):
    """R9: what the one repair cannot read does not keep it from giving up the record."""
    store = tmp_path / "kb"
    at = ["--path", store]
    vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=record_lines(0, 5000))
    vkb("compact", *at)
    whole = exported(vkb, at)
    damage_page(store, last_child(store, root_page(store, "record")))
    if section == "ids":  # nothing but the segment's has them now
        damage_page(store, root_page(store, "sqlite_autoindex_record_1"))
    (segment,) = (store / "segments").iterdir()
    content = bytearray(segment.read_bytes())
    if section == "vectors":
        damaged = content.index(floats([4999 % 7, 4999 / 100, 1.0, 0.5]))
    elif section == "ids":
        damaged = content.index(b"\x05r4999\0")
    else:  # the second one (docs/segment_format.md): by it a row is found
        (offset,) = struct.unpack_from("<Q", content, 112 + 32 + 8)
        damaged = offset + 8 * 4999
        assert struct.unpack_from("<Q", content, damaged) == (5000,)
    content[damaged] ^= 1
    segment.write_bytes(content)

    lost_file = tmp_path / "lost.jsonl"
    done = json.loads(vkb("repair", "--lost", lost_file, "--json", *at).stdout)
    assert done["ok"]
    left = exported(vkb, at)
    lost = [json.loads(line) for line in lost_file.read_text().splitlines()]
    assert done["lost"] == len(lost) == 5000 - len(left) > 0
    assert all(record == whole[name] for name, record in left.items())
    if section == "vectors":
        assert {record["id"] for record in lost} == whole.keys() - left.keys()
        assert {"collection": "notes", "id": "r4999"} in lost
    else:
        name = "" if section == "ids" else "r4999"
        assert {"collection": "notes", "id": name, "embedding": whole["r4999"]["embedding"]} in lost
    assert json.loads(vkb("check", "--deep", "--json", *at).stdout)["ok"]


@pytest.mark.parametrize(
    "index",
    [  # of all tables that are no cache
        "sqlite_autoindex_database_1",
        "sqlite_autoindex_database_2",
        "sqlite_autoindex_collection_1",
        "sqlite_autoindex_collection_2",
        "sqlite_autoindex_record_1",
        "record_by_collection",
        "sqlite_autoindex_metadata_key_1",
        "vector_log_by_collection",
        "sqlite_autoindex_segment_1",
        "segment_by_collection",
        "tombstone_by_seq",
        "tombstone",  # of which that one has all
    ],
)
@pytest.mark.parametrize("codes", ["sound", "damaged"])
def test_a_damaged_index_of_sqlite_costs_nothing(vkb, tmp_path, index, codes):
    """R9: whatever reads a table on the way to its repair does not read it by that index."""
    store = tmp_path / "kb"
    at = ["--path", store]
    add = ["add", "--jsonl", "-", "--collection", "notes", *at]
    lines = record_lines(0, 6000).replace('"document"', '"metadata": {"kind": 1}, "document"')
    vkb(*add, input=lines)
    vkb("compact", *at)
    vkb(*add, input="".join(lines.splitlines(keepends=True)[:1900]).replace("text", "changed"))
    whole = exported(vkb, at)
    assert len(whole) == 6000
    page = root_page(store, index)
    if index in ("record_by_collection", "tombstone_by_seq", "tombstone"):  # of many pages
        page = last_child(store, page)
    damage_page(store, page)
    if codes == "damaged":  # behind the other damage
        (segment,) = (store / "segments").iterdir()
        content = bytearray(segment.read_bytes())
        (offset,) = struct.unpack_from("<Q", content, 112 + 5 * 32 + 8)  # codes_int8
        content[offset + 100] ^= 1
        segment.write_bytes(content)
    found = json.loads(vkb("check", "--deep", "--json", *at, check=False).stdout)["problems"]
    assert found
    done = json.loads(vkb("repair", "--json", *at, check=False).stdout)
    assert done["ok"], done
    assert done["lost"] == 0
    assert json.loads(vkb("check", "--deep", "--json", *at).stdout)["ok"]
    assert exported(vkb, at) == whole


@pytest.mark.parametrize("pages", [1, -1])
@pytest.mark.parametrize("log", ["ended", "missing"])
def test_a_database_that_is_cut_needs_a_backup(vkb, vkb_binary, tmp_path, pages, log):
    """R8: no log is given up for it, and nothing is changed."""
    store = tmp_path / "kb"
    at = ["--path", store]
    database = store / "vkb.sqlite3"
    if log == "missing":
        add_and_kill(vkb, vkb_binary, store)
        (store / "vkb.sqlite3-wal").unlink()
    else:
        vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=record_lines(0, 5000))
    whole = database.stat().st_size // PAGE_BYTES
    left = pages if pages > 0 else whole + pages
    os.truncate(database, left * PAGE_BYTES)
    before = {path.name: path.read_bytes() for path in store.iterdir() if path.is_file()}
    for verb in (["count"], ["compact"], ["repair"], ["repair", "--lost", tmp_path / "lost"]):
        refused = vkb(*verb, *at, check=False)
        assert refused.returncode == 1
        assert f"vkb.sqlite3: its end is missing: expected {whole} pages, found {left}" in refused.stderr
        assert "restore a backup" in refused.stderr
        assert "--lost" not in refused.stderr
    assert {path.name: path.read_bytes() for path in store.iterdir() if path.is_file()} == before
    (found,) = json.loads(vkb("check", "--json", *at, check=False).stdout)["problems"]
    assert "its end is missing" in found["message"]


def test_what_is_left_of_a_cut_database_can_be_kept(vkb, tmp_path):
    """R8: pages that it does not have are damaged pages, once it has its length again."""
    store = tmp_path / "kb"
    at = ["--path", store]
    vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=record_lines(0, 5000))
    vkb("compact", *at)  # a damaged page of the log would take what came before
    size = (store / "vkb.sqlite3").stat().st_size
    cut = last_child(store, root_page(store, "record"))
    assert cut > root_page(store, "tombstone")  # all that says what there is comes before
    os.truncate(store / "vkb.sqlite3", (cut - 1) * PAGE_BYTES)
    os.truncate(store / "vkb.sqlite3", size)
    done = json.loads(vkb("repair", "--lost", tmp_path / "lost.jsonl", "--json", *at).stdout)
    assert done["ok"]
    lost = [json.loads(line) for line in (tmp_path / "lost.jsonl").read_text().splitlines()]
    left = exported(vkb, at)
    assert done["lost"] == len(lost) > 0
    assert left
    assert {record["id"] for record in lost} | left.keys() == {f"r{n}" for n in range(5000)}


def add_and_kill(vkb, vkb_binary, store):
    """Leaves a log behind, with a half of 20,000 records or so."""
    at = ["--path", str(store)]
    vkb("add", "--jsonl", "-", "--collection", "notes", *at, input=record_lines(0, 10))
    command = [str(vkb_binary), "add", "--jsonl", "-", "--collection", "notes", *at]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as adding:
        adding.stdin.write(record_lines(10, 20_000).encode())
        adding.stdin.flush()
        while int(vkb("count", *at).stdout) < 5000:
            pass
        adding.kill()


def damage_log(store):
    log = store / "vkb.sqlite3-wal"
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        file.write(b"\xff")


PAGE_BYTES = 8192


def root_page(store, table: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{store}/vkb.sqlite3?mode=ro", uri=True)) as database:
        return database.execute("SELECT rootpage FROM sqlite_schema WHERE name=?", [table]).fetchone()[0]


def last_child(store, page: int) -> int:
    """Of an inner page of a table or an index (SQLite's file format, "B-tree Pages")."""
    with (store / "vkb.sqlite3").open("rb") as file:
        file.seek((page - 1) * PAGE_BYTES)
        kind, _, _, _, _, child = struct.unpack(">BHHHBI", file.read(12))
    assert kind in (2, 5)
    return child


def damage_page(store, page: int) -> None:
    with (store / "vkb.sqlite3").open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES + 4000)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def damage_vector(store, vector: list[float]):
    """Of a store with one segment, which is returned."""
    (segment,) = (store / "segments").iterdir()
    content = bytearray(segment.read_bytes())
    content[content.index(floats(vector))] ^= 1
    segment.write_bytes(content)
    return segment


def exported(vkb, at) -> dict:
    lines = vkb("export", "--jsonl", "-", *at).stdout.splitlines()
    return {record["id"]: record for record in map(json.loads, lines)}


def record_lines(first: int, end: int) -> str:
    return "".join(
        json.dumps({"id": f"r{n}", "embedding": [n % 7, n / 100, 1.0, 0.5], "document": f"text {n}"})
        + "\n"
        for n in range(first, end)
    )


def floats(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)
