# SPDX-License-Identifier: Apache-2.0
"""`vkb repair --lost`: records whose vectors are damaged are given up, all others stay (R9)."""

from __future__ import annotations

import json
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
    (segment,) = (store / "segments").iterdir()
    content = bytearray(segment.read_bytes())
    vectors = content.index(floats([0, 0.07, 1.0, 0.5]))
    content[vectors] ^= 1
    segment.write_bytes(content)

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


def record_lines(first: int, end: int) -> str:
    return "".join(
        json.dumps({"id": f"r{n}", "embedding": [n % 7, n / 100, 1.0, 0.5], "document": f"text {n}"})
        + "\n"
        for n in range(first, end)
    )


def floats(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)
