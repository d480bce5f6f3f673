# SPDX-License-Identifier: Apache-2.0
"""`vkb import-redis` killed at random moments and repeated, and watched by reading processes while it
works (R1-R3, R7)."""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import subprocess

from support import kb

ROWS = 6000  # over the number that gets a graph
DIM = 32
KILLS = 10


def dump_of_others(client) -> dict[bytes, bytes | None]:
    return {key: client.dump(key) for key in client.scan_iter(count=1000) if not key.startswith(b"doc:")}


def import_arguments(redis_server, store: pathlib.Path) -> list[str]:
    return ["import-redis", redis_server.url, "--prefix", "doc:", "--collection", "notes",
            "--path", str(store), "--batch-size", "500"]  # fmt: skip


def records(vkb, store: pathlib.Path) -> dict[str, str]:
    lines = vkb("export", "--jsonl", "-", "--path", store).stdout.splitlines()
    return {json.loads(line)["id"]: line for line in lines}


def test_killed_ten_times_it_ends_like_an_uninterrupted_one(
    redis_server, vkb, vkb_binary, tmp_path
):
    client = redis_server.client()
    kb.write(client, kb.random_chunks(ROWS, DIM))
    kb.write_others(client, 400)
    others = dump_of_others(client)

    whole = tmp_path / "whole"
    straight = json.loads(vkb(*import_arguments(redis_server, whole), "--json").stdout)
    chance = random.Random(11)
    broken = tmp_path / "broken"
    killed = 0
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VKB_")}
    for _ in range(KILLS):
        command = [str(vkb_binary), *import_arguments(redis_server, broken), "--quiet"]
        process = subprocess.Popen(
            command, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(chance.uniform(0.01, 0.9) * straight["seconds"])
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        # Whatever is there is whole, if it came as far as being a store.
        found = vkb("check", "--deep", "--path", broken, check=False)
        assert found.returncode == 0 or "no vkb store" in found.stderr
    assert killed > 0

    resumed = json.loads(vkb(*import_arguments(redis_server, broken), "--json").stdout)
    assert resumed["imported"] + resumed["unchanged"] == ROWS
    assert resumed["verification"]["passed"]
    assert json.loads(vkb("check", "--deep", "--json", "--path", broken).stdout)["problems"] == []
    assert records(vkb, broken) == records(vkb, whole)
    for store in (whole, broken):
        segments = json.loads(vkb("info", "--json", "--path", store).stdout)["segments"]
        assert [(s["rows"], s["has_graph"]) for s in segments] == [(ROWS, True)]
    assert dump_of_others(client) == others

    again = json.loads(vkb(*import_arguments(redis_server, broken), "--json").stdout)
    assert (again["imported"], again["unchanged"]) == (0, ROWS)


def test_two_reading_processes_see_whole_batches_while_it_imports(
    redis_server, vkb, vkb_binary, store_dir
):
    client = redis_server.client()
    kb.write(client, kb.random_chunks(ROWS, DIM))
    # The store and its collection exist before the readers look.
    vkb(*import_arguments(redis_server, store_dir), "--limit", "500", "--no-verify")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VKB_")}
    process = subprocess.Popen(
        [str(vkb_binary), *import_arguments(redis_server, store_dir), "--quiet"],
        env=clean, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seen = [[], []]
    while process.poll() is None:
        for counts in seen:
            counts.append(json.loads(vkb("count", "--json", "--path", store_dir).stdout)["count"])
            first = vkb("get", "--limit", "1", "--json", "--path", store_dir)
            near = vkb("query", "--like", json.loads(first.stdout)["ids"][0], "-k", "3",
                       "--json", "--path", store_dir)  # fmt: skip
            assert json.loads(near.stdout)["ids"][0][0] == json.loads(first.stdout)["ids"][0]
    assert process.returncode == 0
    for counts in seen:
        assert counts == sorted(counts)
        assert all(count % 500 == 0 for count in counts)
    assert json.loads(vkb("count", "--json", "--path", store_dir).stdout)["count"] == ROWS
