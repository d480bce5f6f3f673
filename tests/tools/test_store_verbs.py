# SPDX-License-Identifier: Apache-2.0
"""count, collections, info, compact, check, repair, backup, restore, delete --purge, bench."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import sqlite3
import struct

import pytest
import xxhash

from support.cli import is_one_error_line, lines, record, write_npy

COUNT = 300


@pytest.fixture
def store(vkb, store_dir):
    """A compacted collection: one segment."""
    vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes",
        input=lines(map(record, range(COUNT))))  # fmt: skip
    vkb("compact", "--path", store_dir)
    return store_dir


@pytest.fixture
def ask(vkb, store):
    def run(*arguments, **options):
        return json.loads(vkb(*arguments, "--path", store, "--json", **options).stdout)

    return run


def test_count_and_collections(vkb, store, ask):
    assert ask("count") == {"collection": "notes", "count": COUNT}
    vkb("add", "--jsonl", "-", "--path", store, "--collection", "others", "--space", "ip",
        "--model", "m", input=lines([record(1, dim=3)]))  # fmt: skip
    assert ask("collections") == {
        "collections": [
            {"name": "notes", "rows": COUNT, "dim": 8, "space": "cosine", "model": None},
            {"name": "others", "rows": 1, "dim": 3, "space": "ip", "model": "m"},
        ]
    }
    text = vkb("collections", "--path", store).stdout
    assert "notes  300 records  dim 8  cosine\n" in text


def test_count_touches_no_segment(vkb, store):
    for path in (store / "segments").iterdir():
        path.unlink()
    assert vkb("count", "--path", store).stdout == f"{COUNT}\n"


def test_info(vkb, store, ask):
    info = ask("info")
    assert info["collection"] == "notes"
    assert (info["rows"], info["dim"], info["space"]) == (COUNT, 8, "cosine")
    assert info["unsealed"] == 0 and info["tombstones"] == 0
    (segment,) = info["segments"]
    assert segment["rows"] == COUNT
    assert segment["bytes"] == os.path.getsize(store / "segments" / segment["file"])
    assert 0 <= info["resident_bytes"] == segment["resident_bytes"] <= segment["bytes"]
    kinds = info["bytes_by_kind"]
    assert kinds["vectors"] == segment["sections"]["vectors"] >= COUNT * 8 * 4
    assert sum(kinds.values()) == info["store"]["database_bytes"] + info["store"]["segment_bytes"]
    assert info["store"]["path"] == str(store)
    text = vkb("info", "--path", store).stdout
    assert "vectors" in text and "resident" in text


def test_compact_gives_disk_back(vkb, store, ask):
    vkb("delete", "--where", '{"even": true}', "--path", store)
    done = ask("compact")
    assert done["segments_after"] == 1 and done["bytes_before"] > 0 and done["seconds"] >= 0
    info = ask("info")
    assert info["tombstones"] == 0
    assert info["segments"][0]["rows"] == COUNT // 2
    assert "segments" in vkb("compact", "--path", store).stdout


def test_check_of_a_sound_store(vkb, store, ask):
    quick = ask("check")
    assert quick["ok"] and not quick["deep"] and quick["problems"] == []
    deep = ask("check", "--deep")
    assert deep["ok"] and deep["deep"] and deep["records"] == COUNT and deep["bytes"] > 0
    assert quick["recall"] is None and deep["recall"] is None  # there is no graph
    assert vkb("check", "--path", store).stdout.startswith("ok: 1 segments, 300 records")


def flip_byte(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def test_check_lists_damage_and_exits_with_1(vkb, store):
    (segment,) = (store / "segments").iterdir()
    flip_byte(segment, 10)  # in the header
    for flags in ([], ["--deep"]):
        done = vkb("check", *flags, "--path", store, "--json", check=False)
        assert done.returncode == 1
        found = json.loads(done.stdout)
        assert not found["ok"]
        assert any(segment.name in p["object"] + p["message"] for p in found["problems"])
    done = vkb("check", "--path", store, check=False)
    assert done.returncode == 1
    assert segment.name in done.stdout and "damaged: " in done.stdout


def test_check_of_a_damaged_database(vkb, store):
    for path in store.glob("vkb.sqlite3-*"):
        path.unlink()  # or SQLite would read the first page from there
    with open(store / "vkb.sqlite3", "r+b") as database:
        database.write(b"not a database at all")
    done = vkb("check", "--path", store, "--json", check=False)
    assert done.returncode == 1
    assert not json.loads(done.stdout)["ok"]


def test_repair_of_a_sound_store_has_nothing_to_do(vkb, store, ask):
    assert ask("repair") == {"ok": True, "found": [], "problems": [], "lost": 0}
    assert "nothing to repair" in vkb("repair", "--path", store).stdout


def test_repair_rebuilds_what_is_not_the_truth(vkb, store, ask):
    """R9: a broken cache never costs data."""
    before = vkb("export", "--jsonl", "-", "--path", store).stdout
    sections = ask("info")["segments"][0]["sections"]
    (segment,) = (store / "segments").iterdir()
    assert len(sections) > 2
    damaged = None
    for offset in range(4096, segment.stat().st_size, 4096):  # sections begin at these places
        content = segment.read_bytes()
        flip_byte(segment, offset)
        found = json.loads(vkb("check", "--deep", "--path", store, "--json", check=False).stdout)
        if any(problem["repairable"] for problem in found["problems"]):
            damaged = found
            break
        segment.write_bytes(content)
    assert damaged is not None
    done = vkb("repair", "--path", store, "--json")
    report = json.loads(done.stdout)
    assert report["ok"] and report["found"] and report["problems"] == []
    assert ask("check", "--deep")["ok"]
    assert vkb("export", "--jsonl", "-", "--path", store).stdout == before


def test_backup_and_restore(vkb, store, tmp_path):
    lines_before = vkb("export", "--jsonl", "-", "--path", store).stdout
    assert vkb("backup", "", "--path", store, check=False).returncode == 2
    backup = tmp_path / "backup"
    done = json.loads(vkb("backup", backup, "--path", store, "--json").stdout)
    assert done["backup"] == str(backup) and done["bytes"] > 0
    vkb("delete", "--id", "n1", "--path", store)

    target = tmp_path / "new" / "place"
    done = json.loads(vkb("restore", backup, "--path", target, "--json").stdout)
    assert done["restored"] == str(target)
    assert vkb("export", "--jsonl", "-", "--path", target).stdout == lines_before
    assert vkb("count", "--path", store).stdout == f"{COUNT - 1}\n"
    assert sorted(path.name for path in target.parent.iterdir()) == ["place"]

    empty = tmp_path / "empty"
    empty.mkdir()
    vkb("restore", backup, "--path", f"{empty}/")
    assert vkb("count", "--path", empty).stdout == f"{COUNT}\n"


def files_of(directory):
    return {path.relative_to(directory).as_posix(): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()}  # fmt: skip


def test_a_backup_has_a_manifest_of_hashes(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    vkb("backup", backup, "--path", store)
    text = (backup / "backup.json").read_bytes()
    manifest = json.loads(text)
    hashed = text[: text.rindex(b'"xxh3_128"')]
    assert list(manifest.items())[-1] == ("xxh3_128", xxhash.xxh3_128_hexdigest(hashed))
    assert manifest["format"] == "vkb backup" and manifest["version"] == 1
    assert manifest["store"] == str(store)
    assert (manifest["schema_version"], manifest["segment_format"]) == (4, 3)
    (collection,) = manifest["collections"]
    assert (collection["name"], collection["records"]) == ("notes", COUNT)
    there = files_of(backup)
    assert {each["file"] for each in manifest["files"]} == set(there) - {"backup.json", "backup.lock"}
    for each in manifest["files"]:
        content = there[each["file"]]
        assert each["bytes"] == len(content)
        assert each["xxh3_128"] == xxhash.xxh3_128_hexdigest(content[: each["hashed_bytes"]])
        if each["file"] == "vkb.sqlite3":
            assert each["hashed_bytes"] == len(content)


def test_a_backup_is_brought_up_to_date(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    first = json.loads(vkb("backup", backup, "--path", store, "--json").stdout)
    assert first["new_bytes"] == first["bytes"]
    (segment,) = (backup / "segments").iterdir()
    vkb("add", "--jsonl", "-", "--path", store, input=lines([record(COUNT)]))
    second = json.loads(vkb("backup", backup, "--path", store, "--json").stdout)
    assert second["new_bytes"] == second["bytes"] - segment.stat().st_size
    vkb("restore", backup, "--path", tmp_path / "restored")
    assert vkb("count", "--path", tmp_path / "restored").stdout == f"{COUNT + 1}\n"
    vkb("compact", "--path", store)
    assert "of it new" in vkb("backup", backup, "--path", store).stdout
    assert not segment.exists() and len(list((backup / "segments").iterdir())) == 1
    vkb("restore", backup, "--path", tmp_path / "restored", "--yes")
    assert vkb("count", "--path", tmp_path / "restored").stdout == f"{COUNT + 1}\n"
    assert json.loads(vkb("check", "--deep", "--json", "--path", tmp_path / "restored").stdout)["ok"]


def test_backup_refuses_what_is_there(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    vkb("backup", backup, "--path", store)
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    other = tmp_path / "other"
    vkb("add", "--jsonl", "-", "--path", other, "--collection", "notes", input=lines([record(1)]))
    inside = store / "reports" / ".." / "backup"
    for source, destination in ((store, store), (store, inside), (store, full), (other, backup)):
        before = files_of(destination)
        done = vkb("backup", destination, "--path", source, check=False)
        assert done.returncode == 1
        assert is_one_error_line(done.stderr)
        assert str(destination) in done.stderr
        assert files_of(destination) == before


def test_restore_replaces_a_store_only_with_yes(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    vkb("backup", backup, "--path", store)
    vkb("delete", "--id", "n1", "--path", store)
    done = vkb("restore", backup, "--path", store, check=False)
    assert done.returncode == 1
    assert is_one_error_line(done.stderr)
    assert f"{COUNT - 1} records" in done.stderr and "--yes" in done.stderr
    assert vkb("count", "--path", store).stdout == f"{COUNT - 1}\n"
    done = json.loads(vkb("restore", backup, "--path", store, "--yes", "--json").stdout)
    assert done["replaced"] and done["created"].endswith("Z")
    assert vkb("count", "--path", store).stdout == f"{COUNT}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", store.name]
    done = vkb("restore", tmp_path / "none", "--path", tmp_path / "x", check=False)
    assert done.returncode == 1 and "no complete backup" in done.stderr
    assert not (tmp_path / "x").exists()


def test_restore_replaces_a_store_whose_database_is_gone(vkb, store, tmp_path):
    """Every other verb says of such a store that a backup is to be restored."""
    backup = tmp_path / "backup"
    vkb("backup", backup, "--path", store)
    restore = ["restore", backup, "--path", store]
    with contextlib.closing(sqlite3.connect(store / "vkb.sqlite3")) as reader:
        assert reader.execute("SELECT count(*) FROM record").fetchone() == (COUNT,)
        (store / "vkb.sqlite3").unlink()
        done = vkb(*restore, "--yes", check=False)  # whoever has it open reads what is gone
        assert done.returncode == 4 and "open in another program" in done.stderr
    assert "restore a backup" in vkb("count", "--path", store, check=False).stderr
    done = vkb(*restore, check=False)
    assert done.returncode == 1 and "cannot be read" in done.stderr and "--yes" in done.stderr
    letter = store / "segments/letter.txt"
    letter.write_text("mine")
    done = vkb(*restore, "--yes", check=False)
    assert done.returncode == 1 and "segments/letter.txt, which is no part" in done.stderr
    letter.unlink()  # it was not touched
    (store / "reports").mkdir()
    (store / "reports/1").write_text("of an import")
    assert json.loads(vkb(*restore, "--yes", "--json").stdout)["replaced"]
    assert json.loads(vkb("check", "--deep", "--json", "--path", store).stdout)["ok"]
    assert vkb("count", "--path", store).stdout == f"{COUNT}\n"
    assert (store / "reports/1").read_text() == "of an import"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", store.name]

    (tmp_path / "other").mkdir()
    (tmp_path / "other/writer.lock").touch()  # alone this says little
    done = vkb("restore", backup, "--path", tmp_path / "other", "--yes", check=False)
    assert done.returncode == 1 and "or hold a store" in done.stderr


def test_a_backup_is_proved_by_check_deep(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    (segment,) = (store / "segments").iterdir()
    flip_byte(segment, segment.stat().st_size // 2)
    vkb("backup", backup, "--path", store)  # links, and does not read
    done = vkb("check", "--deep", "--path", backup, check=False)
    assert done.returncode == 1 and segment.name in done.stdout
    flip_byte(segment, segment.stat().st_size // 2)
    database = backup / "vkb.sqlite3"
    for at in range(4096, database.stat().st_size, 8192):
        flip_byte(database, at)
        done = vkb("check", "--deep", "--path", backup, check=False)
        assert done.returncode == 1 and "vkb.sqlite3" in done.stdout
        flip_byte(database, at)
    assert "ok: " in vkb("check", "--deep", "--path", backup).stdout
    # What that left there is in nobody's way.
    vkb("restore", backup, "--path", tmp_path / "restored")
    vkb("add", "--jsonl", "-", "--path", store, input=lines([record(COUNT)]))
    vkb("backup", backup, "--path", store)
    vkb("check", "--deep", "--path", backup)
    vkb("restore", backup, "--path", tmp_path / "restored", "--yes")
    assert vkb("count", "--path", tmp_path / "restored").stdout == f"{COUNT + 1}\n"


def test_restore_removes_what_killed_ones_left(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    vkb("backup", backup, "--path", store)
    left = [store.with_name(f"{store.name}.restoring-{number}") for number in (1, 2)]
    for path in left:
        shutil.copytree(store, path)
    (left[1] / "letter.txt").write_text("mine")
    done = vkb("restore", backup, "--path", store, "--yes")
    assert not left[0].exists() and f"{left[1]}: it has letter.txt" in done.stderr
    assert (left[1] / "letter.txt").read_text() == "mine"
    assert vkb("count", "--path", store).stdout == f"{COUNT}\n"


def test_restore_waits_for_nobody_who_reads_or_writes(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    vkb("backup", backup, "--path", store)
    command = ["restore", backup, "--path", store, "--yes", "--lock-timeout", 0]
    with sqlite3.connect(store / "vkb.sqlite3") as reader:  # an idle connection, as servers have
        assert reader.execute("SELECT count(*) FROM record").fetchone() == (COUNT,)
        done = vkb(*command, check=False)
        assert done.returncode == 4 and "open in another program" in done.stderr
    reader.close()
    with open(store / "writer.lock", "r+") as writer:
        writer.write("pid 1 (somebody)")
        writer.flush()
        fcntl.lockf(writer, fcntl.LOCK_EX)
        done = vkb(*command, check=False)
        assert done.returncode == 4 and "pid 1 (somebody)" in done.stderr
    vkb(*command)


def test_a_damaged_backup_is_not_restored(vkb, store, tmp_path):
    backup = tmp_path / "backup"
    vkb("backup", backup, "--path", store)
    (segment,) = (backup / "segments").iterdir()
    for path in (segment, backup / "vkb.sqlite3"):
        content = path.read_bytes()
        path.unlink()  # a hard link: the store's own file must stay as it is
        path.write_bytes(content)
        flip_byte(path, 4096)  # in the first section
        before = files_of(store)
        for target, flags in ((tmp_path / "target", []), (store, ["--yes"])):
            done = vkb("restore", backup, "--path", target, *flags, check=False)
            assert done.returncode == 1
            assert is_one_error_line(done.stderr)
            assert path.name in done.stderr and "nothing was restored" in done.stderr
            assert "expected" in done.stderr and "found" in done.stderr
        assert not (tmp_path / "target").exists()
        assert {k: v for k, v in files_of(store).items() if "-" not in k} == {
            k: v for k, v in before.items() if "-" not in k
        }
        path.write_bytes(content)
    vkb("restore", backup, "--path", tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", store.name, "target"]


# erasing


def secret_record(number, version):
    """A record of which no word is in another one."""
    tag = f"of-version-{version}-"
    each = record(number)
    each["id"] = "patient-4711-the-id"
    each["document"] = f"Diagnosis {tag} " + " ".join(f"w{version}x{n}" for n in range(5000))
    each["metadata"] = {"surname": f"Mustermann {tag}", f"key {tag}": True, "even": False}
    each["embedding"] = [random.Random(version).uniform(-1, 1) for _ in range(8)]
    return each


def secrets_of(each):
    document = each["document"].encode()
    return {
        each["id"].encode(),
        *(document[at : at + 64] for at in range(0, len(document) - 64, 5000)),
        each["metadata"]["surname"].encode(),
        struct.pack("<8f", *each["embedding"]),
    }


def visible(store, secrets):
    """Those that are in some file, read as bytes."""
    contents = files_of(store).values()
    return {secret for secret in secrets if any(secret in content for content in contents)}


def test_purge_leaves_no_byte(vkb, store, tmp_path):
    versions = [secret_record(COUNT + 1, version) for version in range(3)]
    secrets = set().union(*map(secrets_of, versions))
    text = tmp_path / "text.txt"
    text.write_text(versions[-1]["document"] + "\n")
    erased = ["check", "--erased", "patient-4711-the-id", "--erased-text", text, "--path", store]
    assert vkb(*erased).stdout.startswith("erased: ")
    for version in versions:
        vkb("add", "--jsonl", "-", "--path", store, input=lines([version]))
        if version is not versions[-1]:
            vkb("compact", "--path", store)
    assert secrets_of(versions[-1]) <= visible(store, secrets)
    done = vkb(*erased, check=False)
    assert done.returncode == 1 and "vkb.sqlite3" in done.stdout and "not erased" in done.stdout

    done = json.loads(vkb("delete", "--id", "patient-4711-the-id", "--purge", "--path", store,
                          "--json").stdout)  # fmt: skip
    assert done == {"deleted": 1, "purged": True}
    assert visible(store, secrets) == set()
    assert vkb(*erased).stdout.startswith("erased: ")
    assert vkb("count", "--path", store).stdout == f"{COUNT}\n"
    assert json.loads(vkb("check", "--deep", "--json", "--path", store).stdout)["ok"]


def test_purge_of_what_was_deleted_before(vkb, store):
    secret = secret_record(1, 7)
    vkb("add", "--jsonl", "-", "--path", store, input=lines([secret]))
    vkb("compact", "--path", store)
    vkb("delete", "--id", secret["id"], "--path", store)
    assert visible(store, secrets_of(secret)) != set()
    text = vkb("delete", "--purge", "--path", store).stdout
    assert text.startswith("deleted 0 records; nothing that was deleted is left")
    assert visible(store, secrets_of(secret)) == set()


def test_check_erased_says_where(vkb, store, tmp_path):
    (segment,) = (store / "segments").iterdir()
    vector = tmp_path / "vector"
    vector.write_bytes(struct.pack("<8f", *record(7)["embedding"]))
    done = vkb("check", "--erased", "no such id", "--erased", "file:///7.txt", "--erased-text",
               vector, "--path", store, "--json", check=False)  # fmt: skip
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert not report["erased"] and report["count"] == len(report["found"]) > 1
    there = files_of(store)
    assert report["files"] == len(there) and report["bytes"] == sum(map(len, there.values()))
    assert {each["what"] for each in report["found"]} == {"id 'file:///7.txt'", f"text of {vector}"}
    wanted = {"id 'file:///7.txt'": b"file:///7.txt", f"text of {vector}": vector.read_bytes()}
    for each in report["found"]:
        secret = wanted[each["what"]]
        assert there[each["file"]][each["offset"] :].startswith(secret)
    assert f"segments/{segment.name}" in {each["file"] for each in report["found"]}

    report = json.loads(vkb("check", "--erased", "no such id", "--path", store, "--json").stdout)
    assert report["erased"] and report["found"] == []
    assert "short" in vkb("check", "--erased", "n1", "--path", store, check=False).stderr


def test_check_erased_refuses_what_proves_nothing(vkb, store, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for flags, code in (
        (["--erased", ""], 2),
        (["--erased-text", empty], 2),
        (["--erased", "x", "--deep"], 2),
        (["--erased-text", tmp_path / "none"], 1),
    ):
        done = vkb("check", *flags, "--path", store, check=False)
        assert done.returncode == code, done
        assert is_one_error_line(done.stderr)
    done = vkb("check", "--erased", "x", "--path", tmp_path / "no-store", check=False)
    assert done.returncode == 1 and "no store" in done.stderr


# bench


@pytest.fixture
def queries(tmp_path):
    rows = [record(i)["embedding"] for i in range(20)]
    return write_npy(tmp_path / "q.npy", (20, 8), "<f4", sum(rows, []))


def true_rows(vkb, store, queries, k=10, where=None):
    """Row numbers in insertion order, by exact search."""
    flags = ["--where", where] if where else []
    found = json.loads(
        vkb("query", "--vector-file", queries, "-k", k, "--exact", "--path", store, "--json", *flags)
        .stdout
    )  # fmt: skip
    return [[int(name[1:]) for name in ids] for ids in found["ids"]]


@pytest.mark.parametrize("dtype", ["<i4", "<i8"])
def test_bench_query(vkb, store, ask, queries, tmp_path, dtype):
    rows = true_rows(vkb, store, queries, 12)
    truth = write_npy(tmp_path / "gt.npy", (20, 12), dtype, sum(rows, []))
    found = ask("bench", "query", "--queries", queries, "--truth", truth, "--ef", "16,200")
    assert [result["ef"] for result in found["results"]] == [16, 200]
    for result in found["results"]:
        assert set(result) == {
            "ef", "recall", "p50_us", "p95_us", "p99_us", "mean_us", "qps", "resident_bytes"
        }  # fmt: skip
        assert 0 < result["p50_us"] <= result["p95_us"] <= result["p99_us"]
        assert result["qps"] > 0 and result["resident_bytes"] > 0
    assert found["results"][1]["recall"] >= 0.95
    # Wrong by construction: the rows of other queries.
    wrong = write_npy(tmp_path / "wrong.npy", (20, 12), dtype, [299] * 240)
    low = ask("bench", "query", "--queries", queries, "--truth", wrong, "--ef", "200")
    assert low["results"][0]["recall"] < 0.5


def test_bench_query_with_filter_threads_and_padded_truth(vkb, store, ask, queries, tmp_path):
    where = '{"half": {"$lt": 2}}'  # four records
    rows = true_rows(vkb, store, queries, 10, where)
    assert all(len(row) == 4 for row in rows)
    truth = write_npy(tmp_path / "gt.npy", (20, 10), "<i8", sum((r + [-1] * 6 for r in rows), []))
    found = ask("bench", "query", "--queries", queries, "--truth", truth, "--where", where,
                "--threads", 3)  # fmt: skip
    assert found["results"][0]["recall"] == 1
    assert found["threads"] == 3


def test_bench_query_of_batches_and_filters(vkb, ask, store, queries):
    flags = ("bench", "query", "--queries", queries, "--batch", 8, "--where", '{"half": 1}')
    found = ask(*flags)
    assert 0 < found["filter"]["cached_us"] < found["filter"]["compile_us"]
    (result,) = found["results"]
    assert result["batch"] == 8 and result["batch_qps"] > 0
    text = vkb(*flags, "--path", store).stdout
    assert "filter compiled in" in text and "8 in one call" in text
    refused = vkb(*flags, "--threads", 2, "--path", store, check=False)
    assert refused.returncode == 2 and "--threads 1" in refused.stderr


def test_bench_query_without_truth_and_for_people(vkb, store, ask, queries):
    (result,) = ask("bench", "query", "--queries", queries)["results"]
    assert result["recall"] is None and result["ef"] == ask("info")["ef_search"]
    text = vkb("bench", "query", "--queries", queries, "--path", store).stdout
    assert "recall" in text and "p99 us" in text


def test_bench_query_finds_the_ef_for_a_recall(vkb, store_dir, tmp_path):
    draw = random.Random(1).gauss
    records = (
        {"id": f"r{i}", "embedding": [draw(0, 1) for _ in range(32)], "document": ""}
        for i in range(5000)
    )
    vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "many", input=lines(records))
    vkb("compact", "--path", store_dir)  # so many get a graph
    queries = write_npy(tmp_path / "q.npy", (40, 32), "<f4", [draw(0, 1) for _ in range(1280)])

    def bench(*flags):
        done = vkb("bench", "query", "--queries", queries, *flags, "--path", store_dir, "--json")
        (result,) = json.loads(done.stdout)["results"]
        return result

    low, high = bench("--recall", 0.9), bench("--recall", 0.99)
    assert low["recall"] >= 0.9 and high["recall"] >= 0.99
    assert 10 < low["ef"] < high["ef"]
    rows = true_rows(vkb, store_dir, queries)
    truth = write_npy(tmp_path / "gt.npy", (40, 10), "<i4", sum(rows, []))
    assert bench("--recall", 0.99, "--truth", truth)["ef"] == high["ef"]
    below = bench("--ef", high["ef"] * 3 // 4, "--truth", truth)
    assert below["recall"] < high["recall"]
    # An ef of less than 16 is found to the one.
    for k, ef in ((1, 5), (5, 13)):
        target = bench("-k", k, "--ef", ef, "--truth", truth)["recall"]
        found = bench("-k", k, "--recall", target)
        assert k < found["ef"] <= ef and found["recall"] >= target
        assert bench("-k", k, "--ef", found["ef"] - 1, "--truth", truth)["recall"] < target
    refused = vkb("bench", "query", "--queries", queries, "--recall", 0.9, "--ef", 10, "--path",
                  store_dir, check=False)  # fmt: skip
    assert refused.returncode == 2 and "--ef" in refused.stderr


def test_bench_query_refuses_what_does_not_fit(vkb, store, queries, tmp_path):
    few = write_npy(tmp_path / "few.npy", (19, 10), "<i8", [0] * 190)
    narrow = write_npy(tmp_path / "narrow.npy", (20, 9), "<i8", [0] * 180)
    beyond = write_npy(tmp_path / "beyond.npy", (20, 10), "<i8", [COUNT] * 200)
    other = write_npy(tmp_path / "other.npy", (2, 3), "<f4", range(6))
    for flags in (
        ["--queries", queries, "--truth", few],
        ["--queries", queries, "--truth", narrow],
        ["--queries", queries, "--truth", beyond],
        ["--queries", queries, "--truth", queries],
        ["--queries", other],
        ["--queries", tmp_path / "none.npy"],
    ):
        done = vkb("bench", "query", *flags, "--path", store, check=False)
        assert done.returncode == 1
        assert is_one_error_line(done.stderr), done.stderr


def test_bench_open(vkb, store, ask):
    found = ask("bench", "open", "--runs", 2)
    assert found["rows"] == COUNT
    for cache in ("warm", "cold"):
        if found[cache] is None:
            continue  # not permitted here
        assert found[cache]["runs"] == 2
        for key in ("open_ms", "first_answer_ms", "process_ms"):
            values = found[cache][key]
            assert 0 < values["min"] <= values["p50"] <= values["max"]
    text = vkb("bench", "open", "--runs", 1, "--no-cold", "--path", store).stdout
    assert "warm" in text and "cold" not in text
