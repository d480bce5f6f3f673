# SPDX-License-Identifier: Apache-2.0
"""A store that cannot be opened or written: one line says which file, what is wrong, what to do."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from support.cli import is_one_error_line, lines, record

EVERY_VERB = (
    ["count"],
    ["get"],
    ["query", "--like", "n1"],
    ["add", "--jsonl", "-", "--collection", "notes"],
    ["delete", "--id", "n1"],
    ["serve", "--port", 0],
)
CHANGES = (["add", "--jsonl", "-", "--collection", "notes"], ["delete", "--id", "n1"])
SQL = ("PRAGMA", "SELECT", "BEGIN", "prepare")


@pytest.fixture
def filled(vkb, store_dir):
    fill(vkb, store_dir)
    return store_dir


def fill(vkb, store):
    vkb("add", "--jsonl", "-", "--collection", "notes", "--path", store,
        input=lines(map(record, range(3))))  # fmt: skip


def expect(vkb, store, verbs, file, problem, advice):
    for verb in verbs:
        done = vkb(*verb, "--path", store, input=lines([record(9)]), check=False, timeout=20)
        assert done.returncode == 1, verb
        assert is_one_error_line(done.stderr), done.stderr
        for text in (f"{store}/{file}", problem, advice):
            assert text in done.stderr, verb
        assert not any(word in done.stderr for word in SQL), done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("size", [100, 5000, 20_000])
def test_a_database_that_is_cut(vkb, filled, size):
    os.truncate(filled / "vkb.sqlite3", size)
    expect(vkb, filled, EVERY_VERB, "vkb.sqlite3", "its end is missing", "restore a backup")
    assert vkb("check", "--path", filled, check=False).returncode == 1


@pytest.mark.parametrize("size", [0, 1])
def test_a_database_that_is_empty(vkb, filled, size):
    os.truncate(filled / "vkb.sqlite3", size)
    expect(vkb, filled, EVERY_VERB, "vkb.sqlite3", "it is empty", "restore a backup")


def test_a_database_that_is_a_text(vkb, filled):
    (filled / "vkb.sqlite3").write_text("Notes that somebody kept under this name.\n" * 10)
    expect(vkb, filled, EVERY_VERB, "vkb.sqlite3", "file is not a database", "another path")


@pytest.mark.parametrize(
    ("file", "verbs"),
    [
        ("vkb.sqlite3", EVERY_VERB),
        ("vkb.sqlite3-wal", EVERY_VERB),
        ("vkb.sqlite3-shm", CHANGES),
        ("writer.lock", CHANGES),
    ],
)
def test_a_directory_in_a_files_place(vkb, filled, file, verbs):
    (filled / file).unlink(missing_ok=True)
    (filled / file).mkdir()
    expect(vkb, filled, verbs, file, "Is a directory", "move it away")


def test_a_file_in_the_place_of_the_segments(vkb, filled):
    shutil.rmtree(filled / "segments")
    (filled / "segments").write_text("")
    expect(vkb, filled, (*CHANGES, ["check"]), "segments", "Not a directory", "move it away")


@pytest.mark.parametrize("most", range(5, 12))
def test_no_descriptors_are_left(vkb, vkb_binary, filled, most):
    for verb in (*EVERY_VERB[:5], ["check"], ["serve", "--port", "0", "--threads", "1"]):
        command = ["timeout", "3", str(vkb_binary), *map(str, verb), "--path", str(filled)]
        done = subprocess.run(
            ["bash", "-c", f'ulimit -n {most} && exec "$@"', "bash", *command],
            input=lines([record(9)]),
            capture_output=True,
            text=True,
        )
        if done.returncode == 1:
            assert is_one_error_line(done.stderr), done.stderr
            assert "Too many open files" in done.stderr, verb
            assert "ulimit -n" in done.stderr, verb
        else:
            assert done.returncode in (0, 124), done.stderr
    assert vkb("check", "--deep", "--path", filled).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes nobody")
@pytest.mark.parametrize(
    ("mode", "name", "verbs", "named"),
    [
        (0o000, ".", EVERY_VERB, ""),
        (0o600, "vkb.sqlite3", EVERY_VERB, "vkb.sqlite3"),
        (0o444, "writer.lock", CHANGES, "writer.lock"),
        (0o444, "vkb.sqlite3", CHANGES, "vkb.sqlite3"),
    ],
)
def test_a_store_of_another_user(vkb, vkb_binary, mode, name, verbs, named):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory).chmod(0o755)
        store = pathlib.Path(directory) / "kb"
        fill(vkb, store)
        for each in (store, *store.rglob("*")):
            each.chmod(0o777 if each.is_dir() else 0o666)
        (store / name).chmod(mode)

        expect(
            as_nobody(vkb_binary), store, verbs, named, "Permission denied", "change its permissions"
        )


def as_nobody(vkb_binary):
    def run(*arguments, input=None, check=True, timeout=None):
        return subprocess.run(
            [vkb_binary, *map(str, arguments)],
            input=input,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
            user=65534,
            group=65534,
            extra_groups=[],
        )

    return run


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes nobody")
def test_the_log_of_a_killed_writer_and_a_user_who_may_not_write(vkb, vkb_binary):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory).chmod(0o755)
        store = pathlib.Path(directory) / "kb"
        fill(vkb, store)
        command = [str(vkb_binary), "add", "--jsonl", "-", "--collection", "notes"]
        with subprocess.Popen([*command, "--path", str(store)], stdin=subprocess.PIPE) as adding:
            adding.stdin.write(lines(map(record, range(3, 20_000))).encode())
            adding.stdin.flush()
            while int(vkb("count", "--path", store).stdout) < 1000:
                pass
            adding.kill()
        left = int(vkb("count", "--path", store).stdout)
        for each in (store, *store.rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)
        (store / "vkb.sqlite3-shm").unlink()
        expect(as_nobody(vkb_binary), store, EVERY_VERB[:3], "vkb.sqlite3-shm",
               "a writer that was killed left its log",
               "open the store once as a user who may write")  # fmt: skip
        assert int(vkb("count", "--path", store).stdout) == left  # which is enough
        assert int(as_nobody(vkb_binary)("count", "--path", store).stdout) == left


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes a user with a limit")
@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_threads_are_left(vkb, vkb_binary, most):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory).chmod(0o755)
        store = pathlib.Path(directory) / "kb"
        vkb("add", "--jsonl", "-", "--collection", "notes", "--path", store,
            input=lines(map(record, range(5000))))  # fmt: skip
        for each in (store, *store.rglob("*")):
            each.chmod(0o777 if each.is_dir() else 0o666)
        needs_more = ["serve", "--port", "0"]
        for verb in (["export", "--jsonl", "-"], ["compact"], ["delete", "--id", "n1", "--purge"],
                     needs_more):  # fmt: skip
            command = [str(vkb_binary), *verb, "--path", str(store)]
            done = subprocess.run(
                ["bash", "-c", f'ulimit -u {most} && exec "$@"', "bash", *command],
                capture_output=True,
                text=True,
                timeout=60,
                user=61234,
                group=61234,
                extra_groups=[],
            )
            if verb == needs_more or (most == 1 and verb[0] != "export"):
                assert done.returncode == 1
                assert is_one_error_line(done.stderr), done.stderr
                assert "cannot start a thread" in done.stderr, verb
                assert "ulimit -u" in done.stderr, verb
            else:
                assert done.returncode == 0, done.stderr
            if verb[0] == "export":
                assert len(done.stdout.splitlines()) == 5000
        assert vkb("check", "--deep", "--path", store).returncode == 0
