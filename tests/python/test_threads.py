# SPDX-License-Identifier: Apache-2.0
"""Many threads, asyncio, and fork()."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import vkb


def test_threads_write_and_read_one_collection(notes: Any):
    def work(thread: int) -> None:
        for n in range(20):
            name = f"{thread}-{n}"
            notes.add(ids=[name], embeddings=[[thread, n]], metadatas=[{"thread": thread}])
            assert notes.get(ids=[name])["ids"] == [name]
            mine = notes.get(where={"thread": thread})["ids"]
            assert mine == [f"{thread}-{i}" for i in range(n + 1)]
            assert notes.query(query_embeddings=[[thread, n]], n_results=1)["ids"] == [[name]]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert notes.count() == 160


def test_the_engine_works_without_the_lock_of_python(notes: Any):
    """While one thread is inside one long call, another one runs Python."""
    vectors = np.random.default_rng(1).normal(size=(20_000, 128)).astype("float32")
    notes.add(ids=[str(n) for n in range(len(vectors))], embeddings=vectors)
    begun, ended = threading.Event(), threading.Event()

    def long_call() -> None:
        begun.set()
        notes.query(query_embeddings=vectors[:2000], n_results=1, include=[])
        ended.set()

    # With such an interval, a thread that holds the lock is not asked to give it up meanwhile.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread = threading.Thread(target=long_call)
        thread.start()
        begun.wait()
        steps = 0
        while not ended.is_set():
            steps += 1
            # Gives up the lock for a moment; were it held by the call, the wait would last until
            # its end, and there would be one step.
            ended.wait(0.001)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert steps > 10


def test_asyncio(client: Any, notes: Any):
    async def work() -> list[Any]:
        await asyncio.to_thread(notes.add, ids=["a", "b"], embeddings=[[0, 1], [1, 0]])
        queries = [asyncio.to_thread(notes.query, query_embeddings=[[0, 1]]) for _ in range(20)]
        found = await asyncio.gather(*queries)
        async with vkb.AsyncClient(client) as awaited:
            again = await awaited.get_collection("notes", embedding_function=None)
            assert repr(again) == "AsyncCollection(name=notes)"
            assert again.name == "notes" and again.id == notes.id
            many = await asyncio.gather(*(again.query(query_embeddings=[[0, 1]]) for _ in "12"))
        return [each["ids"] for each in (*found, *many)]

    assert asyncio.run(work()) == [[["a", "b"]]] * 22


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a forked process and returns its exit code: 1 when it raises, -14 (SIGALRM)
    when it does not come to an end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_is_told_to_open_its_own(tmp_path: pathlib.Path):
    client = vkb.PersistentClient(tmp_path / "parent")
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=[[1, 2]])

    def child() -> None:
        for call in (notes.count, notes.peek, client.list_collections):
            with pytest.raises(vkb.errors.ChromaError, match="opened before fork"):
                call()
        with vkb.PersistentClient(tmp_path / "child") as own:
            made = own.create_collection("notes", embedding_function=None)
            made.add(ids=["a"], embeddings=[[1, 2]])
            assert made.count() == 1
        client.close()

    assert in_child(child) == 0
    notes.add(ids=["b"], embeddings=[[1, 2]])  # the parent goes on
    assert notes.count() == 2
    client.close()


def test_children_forked_while_threads_are_busy(tmp_path: pathlib.Path):
    """What a thread of the parent holds at that moment does not stay locked in the child."""
    vkb.PersistentClient(tmp_path / "child").close()
    with vkb.PersistentClient(tmp_path / "parent") as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=[str(n) for n in range(100)], embeddings=np.eye(100))
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                notes.get(limit=50)

        def child() -> None:
            with vkb.PersistentClient(tmp_path / "child") as own:
                assert own.count_collections() == 0

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work) for _ in range(4)]
            try:
                assert [in_child(child) for _ in range(40)] == [0] * 40
            finally:
                stop.set()
            for each in working:
                each.result()


def test_a_forked_child_leaves_the_temporary_directory(tmp_path: pathlib.Path):
    """A child that ends as processes do, running what is registered for the exit."""
    program = """
import os, sys, vkb
client = vkb.EphemeralClient()
notes = client.create_collection("notes", embedding_function=None)
notes.add(ids=["a"], embeddings=[[1, 2]])
child = os.fork()
if child == 0:
    client.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert notes.count() == 1
print("alive")
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
    assert list(tmp_path.iterdir()) == []  # removed by the parent, at its end
