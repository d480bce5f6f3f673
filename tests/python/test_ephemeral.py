# SPDX-License-Identifier: Apache-2.0
"""Directories of EphemeralClients go, however their process ends, and no others do."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
from typing import Any

import pytest

import vkb

CLIENT = """
import os, vkb
client = vkb.EphemeralClient()
client.create_collection("notes", embedding_function=None).add(ids=["a"], embeddings=[[1.0]])
"""
WAITING = CLIENT + "print(client._server.directory, flush=True); input()"
FORKING = CLIENT + """
if os.fork() == 0:
    print(os.getpid(), flush=True)
    input()
os._exit(0)
"""


@pytest.fixture
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where temporary directories are made, in this process and in those it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def waiting() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert pathlib.Path(process.stdout.readline().strip()).is_dir()
    return process


def end(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_nothing_to_the_next(temporary: pathlib.Path, number: int):
    process = waiting()
    (left,) = temporary.iterdir()
    end(process, number)
    assert left.exists()
    with vkb.EphemeralClient() as client:
        assert client.count_collections() == 0
        assert not left.exists()
    assert list(temporary.iterdir()) == []


def test_directories_of_running_processes_stay(temporary: pathlib.Path):
    process = waiting()
    (theirs,) = temporary.iterdir()
    with vkb.EphemeralClient():  # the collector of another process sees one that lives, and its own
        assert len(list(temporary.iterdir())) == 2
        end(waiting(), signal.SIGKILL)
        assert len(list(temporary.iterdir())) == 3
        end(waiting(), signal.SIGKILL)
        assert len(list(temporary.iterdir())) == 3
    assert (theirs / "store" / "vkb.sqlite3").exists()
    assert process.communicate("\n", timeout=60) == ("", None)
    assert not theirs.exists()


def test_a_process_that_ends_without_cleaning_up(temporary: pathlib.Path):
    subprocess.run([sys.executable, "-c", CLIENT + "os._exit(0)"], check=True, timeout=60)
    assert len(list(temporary.iterdir())) == 1
    vkb.EphemeralClient().close()
    assert list(temporary.iterdir()) == []


def forged(temporary: pathlib.Path, name: str) -> pathlib.Path:
    """What the directory of a dead process looks like."""
    directory = temporary / name
    (directory / "store").mkdir(parents=True)
    (directory / "store" / "precious").write_text("x")
    (directory / "alive").touch()
    return directory


def test_only_what_is_its_own_is_removed(temporary: pathlib.Path, monkeypatch: Any):
    dead = forged(temporary, "vkb-ephemeral-dead")
    other_name = forged(temporary, "vkb-other")
    linked = forged(temporary, "elsewhere")
    link = temporary / "vkb-ephemeral-link"
    link.symlink_to(linked)
    file = temporary / "vkb-ephemeral-file"
    file.touch()
    linked_alive = forged(temporary, "vkb-ephemeral-linked-alive")
    (linked_alive / "alive").unlink()
    (linked_alive / "alive").symlink_to(linked / "alive")
    (dead / "link").symlink_to(linked)
    mine = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: mine + 1)
        vkb.EphemeralClient().close()
    assert dead.exists()
    vkb.EphemeralClient().close()
    assert not dead.exists()
    for kept in (other_name, linked, link, linked_alive):
        assert (kept / "store" / "precious").read_text() == "x"
    assert file.exists()


def test_a_directory_that_is_being_made_stays_for_minutes(temporary: pathlib.Path):
    for name in ("vkb-ephemeral-young", "vkb-ephemeral-old"):
        (forged(temporary, name) / "alive").unlink()
    os.utime(temporary / "vkb-ephemeral-old", (0, 0))
    vkb.EphemeralClient().close()
    assert [each.name for each in temporary.iterdir()] == ["vkb-ephemeral-young"]


def test_a_forked_child_keeps_what_its_parent_left(temporary: pathlib.Path):
    """Until it has ended too."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = os.pidfd_open(int(process.stdout.readline()))
    assert process.wait(60) == 0
    (left,) = temporary.iterdir()
    vkb.EphemeralClient().close()
    assert left.exists()
    process.communicate("\n", timeout=60)
    assert select.select([child], [], [], 60)[0] == [child]  # it has ended
    os.close(child)
    vkb.EphemeralClient().close()
    assert not left.exists()
