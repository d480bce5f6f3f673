# SPDX-License-Identifier: Apache-2.0
"""The demo as `make demo` runs it: answers come, and nothing is left running, however it ends."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from support.services import ROOT


def start(binary: object, directory: pathlib.Path) -> subprocess.Popen:
    demo = [sys.executable, "-B", str(ROOT / "tools/demo/demo.py")]
    return subprocess.Popen(
        [*demo, "--vkb", str(binary), "--directory", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "TMPDIR": str(directory.parent)},  # where its Redis keeps its socket
    )


def left_running(directory: pathlib.Path) -> list[str]:
    """The command lines of processes that were started by a demo in `directory`."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (
                (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            environment = (process / "environ").read_bytes()
            folder = os.readlink(process / "cwd")  # redis-server overwrites its environment
        except OSError:
            continue
        ours = f"TMPDIR={directory.parent}".encode() in environment or folder.startswith(
            str(directory.parent)
        )
        if ours and "demo.py" not in command:
            found.append(command)
    return found


def test_the_demo_answers_and_cleans_up(vkb_binary, tmp_path, vkb):
    process = start(vkb_binary, tmp_path / "demo")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "docs/durability.md" in out  # what the first question is about
    assert out.count("answered in") == 3
    assert not left_running(tmp_path / "demo")
    store = tmp_path / "demo/kb"
    assert int(vkb("count", "--path", store, "--collection", "vkb_docs").stdout) > 40


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path, number):
    process = start("/bin/true", tmp_path / "demo")
    assert process.stdout is not None
    first = process.stdout.readline()  # Redis and the endpoint are running now
    assert first.startswith("1. A real Redis")
    assert len(left_running(tmp_path / "demo")) == 2
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not left_running(tmp_path / "demo")


def test_a_failing_command_is_named_with_its_output(tmp_path):
    failing = tmp_path / "vkb"
    failing.write_text("#!/bin/sh\necho the reason >&2\nexit 1\n")
    failing.chmod(0o755)
    out, err = start(failing, tmp_path / "demo").communicate(timeout=300)
    assert "import-redis failed with exit code 1" in err
    assert "the reason" in err
    assert not left_running(tmp_path / "demo")
