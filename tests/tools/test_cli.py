# SPDX-License-Identifier: Apache-2.0
"""What holds for every verb: help, exit codes, where paths and names come from, output errors."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess

import pytest

from support.cli import is_one_error_line, lines, record

VERBS = (
    "import-redis cleanup-redis query get add delete export count collections info compact check "
    "repair backup restore bench completion"
).split()


def fill(vkb, store, name="notes", count=3):
    vkb("add", "--jsonl", "-", "--path", store, "--collection", name,
        input=lines(map(record, range(count))))  # fmt: skip


def test_help_and_version(vkb):
    text = vkb("--help").stdout
    for verb in VERBS:
        assert f"\n  {verb} " in text
        assert "Usage: " in vkb(verb, "--help").stdout
    for verb in ("query", "open"):
        assert "Usage: " in vkb("bench", verb, "--help").stdout
    assert "probe-open" not in vkb("bench", "--help").stdout
    assert vkb("--version").stdout.startswith("vkb ")


def test_one_cxx_runtime_is_loaded(vkb_binary):
    """Where the program holds the C++ runtime itself, no library may bring another."""
    loaded = subprocess.run(["ldd", vkb_binary], capture_output=True, text=True, check=True).stdout
    if "libstdc++" not in loaded:
        for library in ("libre2", "libyaml-cpp", "libsimdjson", "libprometheus"):
            assert library not in loaded


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["quarry"],
        ["--frobnicate", "count"],
        ["count", "--frobnicate"],
        ["count", "extra"],
        ["query"],
        ["query", "--vector", "[1]", "--text", "x"],
        ["query", "--vector", "[1", "-k", "3"],
        ["query", "--vector", "[1]", "-k", "0"],
        ["query", "--vector", "[1]", "-k", "10001"],
        ["query", "--vector", "[1]", "-k", "many"],
        ["query", "--vector", "[1]", "--where", "{"],
        ["query", "--vector", "[1]", "--where", '{"a": {"$like": 1}}'],
        ["query", "--vector", "[1]", "--where-document", '{"$gt": 1}'],
        ["query", "--vector", "[1]", "--include", "document"],
        ["get", "--limit", "-1"],
        ["get", "--offset", "x"],
        ["add"],
        ["add", "--jsonl", "-", "--space", "euclid"],
        ["add", "--jsonl", "-", "--dim", "0"],
        ["delete"],
        ["export"],
        ["backup"],
        ["restore"],
        ["check", "--erased"],
        ["bench"],
        ["bench", "query"],
        ["completion", "fish"],
        ["--config", "none.yaml", "count"],
    ],
)
def test_wrong_usage_is_exit_code_2(vkb, store_dir, arguments):
    fill(vkb, store_dir)
    done = vkb("--path", store_dir, *arguments, check=False, input="")
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert is_one_error_line(done.stderr), done.stderr


def test_an_unknown_verb_is_named(vkb):
    assert "'quarry'" in vkb("quarry", check=False).stderr


def test_no_store_is_one_line_that_says_where_and_what_to_do(vkb, store_dir):
    for arguments in (["count"], ["query", "--like", "a"], ["delete", "--id", "a"], ["compact"]):
        done = vkb(*arguments, "--path", store_dir, check=False)
        assert done.returncode == 1
        assert is_one_error_line(done.stderr), done.stderr
        assert str(store_dir) in done.stderr and "--path" in done.stderr
        assert not store_dir.exists()


def test_a_store_directory_that_is_a_file(vkb, tmp_path):
    file = tmp_path / "file"
    file.write_text("not a store")
    for arguments in (["count"], ["add", "--jsonl", "-", "--collection", "notes"]):
        done = vkb(*arguments, "--path", file, check=False, input=lines([record(1)]))
        assert done.returncode == 1
        assert is_one_error_line(done.stderr), done.stderr
    assert file.read_text() == "not a store"


def test_path_precedence(vkb, tmp_path):
    for number, name in enumerate(["default", "file", "environment", "flag"]):
        directory = tmp_path / ("vkb-data" if name == "default" else name)
        fill(vkb, directory, count=number + 1)
    config = tmp_path / "my.yaml"
    config.write_text(f"vector_store: {{ path: {tmp_path}/file }}\n")
    by_file = ["--config", config]
    by_environment = {"VKB_PATH": str(tmp_path / "environment")}
    by_flag = ["--path", tmp_path / "flag"]
    assert vkb("count").stdout == "1\n"
    assert vkb("count", *by_file).stdout == "2\n"
    assert vkb("count", *by_file, env=by_environment).stdout == "3\n"
    assert vkb("count", *by_file, *by_flag, env=by_environment).stdout == "4\n"
    assert vkb(*by_flag, "count").stdout == "4\n"


def test_config_file_precedence(vkb, tmp_path, store_dir):
    fill(vkb, store_dir)
    good = tmp_path / "good.yaml"
    good.write_text(f"vector_store: {{ path: {store_dir} }}\n")
    bad = tmp_path / "bad.yaml"
    bad.write_text("vector_store: { path: /nonexistent/vkb }\n")
    assert vkb("count", env={"VKB_CONFIG": str(good)}).stdout == "3\n"
    assert vkb("count", "--config", good, env={"VKB_CONFIG": str(bad)}).stdout == "3\n"
    (tmp_path / "vkb.yaml").write_text(good.read_text())
    assert vkb("count").stdout == "3\n"
    assert vkb("count", env={"VKB_CONFIG": str(bad)}, check=False).returncode == 1


def test_collection_precedence(vkb, tmp_path, store_dir):
    fill(vkb, store_dir, "by-flag", 1)
    assert vkb("count", "--path", store_dir).stdout == "1\n"  # the only one
    fill(vkb, store_dir, "by-environment", 2)
    fill(vkb, store_dir, "by-file", 3)
    done = vkb("count", "--path", store_dir, check=False)
    assert done.returncode == 2
    assert "by-flag" in done.stderr and "--collection" in done.stderr
    (tmp_path / "vkb.yaml").write_text(
        f"vector_store: {{ path: {store_dir}, collection: by-file }}\n"
    )
    assert vkb("count").stdout == "3\n"
    environment = {"VKB_COLLECTION": "by-environment"}
    assert vkb("count", env=environment).stdout == "2\n"
    assert vkb("count", "--collection", "by-flag", env=environment).stdout == "1\n"


def test_an_unknown_collection_lists_those_there_are(vkb, store_dir):
    fill(vkb, store_dir)
    done = vkb("count", "--path", store_dir, "--collection", "nothing", check=False)
    assert done.returncode == 1
    assert "'nothing'" in done.stderr and "notes" in done.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("vector_store:\n  paht: x\n", "line 2: unknown key 'vector_store.paht'"),
        ("vectors: 1\n", "line 1: unknown key 'vectors'"),
        ("embedding: { provider: word2vec }\n", "'word2vec'"),
        ("a: [\n", "line"),
    ],
)
def test_a_mistake_in_the_config_file_is_named(vkb, tmp_path, store_dir, text, named):
    fill(vkb, store_dir)
    (tmp_path / "vkb.yaml").write_text(text)
    done = vkb("count", "--path", store_dir, check=False)
    assert done.returncode == 2
    assert is_one_error_line(done.stderr)
    assert "vkb.yaml" in done.stderr and named in done.stderr


def test_a_password_is_never_echoed(vkb):
    for arguments in (
        ["count", "redis://user:hunter2@host:6379"],
        ["redis://:hunter2@host"],
        ["query", "--vector-file", "redis://:hunter2@host/x.npy"],
    ):
        done = vkb(*arguments, check=False)
        assert done.returncode != 0
        assert "hunter2" not in done.stdout + done.stderr


def test_a_second_writer_is_exit_code_4_and_names_the_holder(vkb, store_dir):
    fill(vkb, store_dir)
    with open(store_dir / "writer.lock", "r+") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        lock.write("pid 4711 (another writer)")
        lock.flush()
        for arguments in (["delete", "--id", "n1"], ["add", "--jsonl", "-"]):
            done = vkb(*arguments, "--path", store_dir, "--lock-timeout", 0.05, check=False,
                       input=lines([record(7)]))  # fmt: skip
            assert done.returncode == 4, done
            assert is_one_error_line(done.stderr)
            assert "4711" in done.stderr
        assert vkb("count", "--path", store_dir).stdout == "3\n"  # readers do not care
    assert vkb("delete", "--id", "n1", "--path", store_dir).stdout == "deleted 1 record\n"


def run_with_stdout(binary, stdout, *arguments):
    return subprocess.run(
        [binary, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout,
        stderr=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip


def test_a_full_disk_under_stdout_is_an_error(vkb, vkb_binary, store_dir):
    fill(vkb, store_dir)
    with open("/dev/full", "w") as full:
        done = run_with_stdout(vkb_binary, full, "get", "--json", "--path", store_dir)
    assert done.returncode == 1
    assert is_one_error_line(done.stderr)
    assert "stdout" in done.stderr


def test_a_reader_of_stdout_that_goes_away_is_no_message(vkb, vkb_binary, store_dir):
    fill(vkb, store_dir)
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = run_with_stdout(vkb_binary, write_end, "export", "--jsonl", "-", "--path", store_dir)
    os.close(write_end)
    assert done.returncode == 1
    assert done.stderr == ""


def test_a_closed_stdout_never_becomes_a_file_of_the_store(vkb, vkb_binary, store_dir):
    fill(vkb, store_dir)
    for command in ("count", "export --jsonl -", "delete --id n0"):
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" {command} --path "$1" >&-', vkb_binary, str(store_dir)],
            stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert is_one_error_line(done.stderr)
    assert json.loads(vkb("check", "--deep", "--json", "--path", store_dir).stdout)["ok"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_a_safe_point(vkb, vkb_binary, store_dir, number, code):
    vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes", input="")
    process = subprocess.Popen(
        [vkb_binary, "add", "--jsonl", "-", "--path", store_dir, "--collection", "notes"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background job, which these tests may be, has SIGINT ignored, and the program
        # leaves ignored signals ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    process.stdin.write(lines(record(i) for i in range(2500)))
    process.stdin.flush()
    while vkb("count", "--path", store_dir).stdout != "2000\n":
        assert process.poll() is None
    process.send_signal(number)
    code_found = process.wait(timeout=60)
    message = process.stderr.read()
    stored = int(vkb("count", "--path", store_dir).stdout)
    process.stdin.close()
    assert code_found == code
    assert 2000 <= stored <= 2500
    assert f"{stored:,}" in message and "repeat the command" in message


def test_completion_scripts_are_scripts(vkb, tmp_path):
    script = tmp_path / "vkb.bash"
    script.write_text(vkb("completion", "bash").stdout)
    subprocess.run(["bash", "-n", script], check=True)
    # What <tab> offers after "vkb qu" and "vkb check --d".
    probe = (
        f"source {script}; COMP_WORDS=($@); COMP_CWORD=$(($# - 1)); _vkb; echo ${{COMPREPLY[@]}}"
    )

    def offered(*words):
        run = subprocess.run(
            ["bash", "-c", probe, "bash", "vkb", *words], check=True, capture_output=True, text=True
        )
        return run.stdout.split()

    assert offered("qu") == ["query"]
    assert offered("check", "--d") == ["--deep"]
    assert offered("--path", "x", "query", "--vector-") == ["--vector-file"]
    assert "_vkb" in vkb("completion", "zsh").stdout


def test_quiet_and_json_leave_stderr_empty(vkb, store_dir):
    fill(vkb, store_dir)
    for verb in ("count", "info", "collections", "compact", "check", "repair", "get"):
        done = vkb(verb, "--json", "--quiet", "--path", store_dir)
        assert done.stderr == ""
        assert isinstance(json.loads(done.stdout), dict)
        assert done.stdout.count("\n") == 1


def test_a_memory_limit_is_a_size(vkb, store_dir):
    lines = "".join(f'{{"id":"r{n}","embedding":[{n},1]}}\n' for n in range(10))
    vkb("add", "--jsonl", "-", "--collection", "rows", "--path", store_dir, input=lines)
    for size in ("64MB", "2gb", "67108864", "1.5GB", "1.5 GiB", "0.25g", "64m", "1024TB", "64.5mib"):
        assert vkb("count", "--path", store_dir, "--memory-limit", size).stdout == "10\n"
    small = "63MB 63.99MB 0 0.0GB -1 -1.5GB 1025TB 1e9GB".split()
    garbage = "some nan inf infGB nanMB 1.5.5GB 1,5GB GB . 1GB2 1ib 5PB 0x10000000".split()
    reasons = {**dict.fromkeys(small, "not in range"), **dict.fromkeys(garbage, "not recognized")}
    reasons.update({"1e9GB": "not recognized", "": "not recognized"})
    for size, reason in reasons.items():
        refused = vkb("count", "--path", store_dir, "--memory-limit", size, check=False)
        assert refused.returncode == 2
        assert f"--memory-limit: {size}" in refused.stderr.replace("'", "")
        assert reason in refused.stderr
        assert is_one_error_line(refused.stderr)
