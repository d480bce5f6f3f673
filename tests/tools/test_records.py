# SPDX-License-Identifier: Apache-2.0
"""add, get, query, delete, export."""

from __future__ import annotations

import json
import math
import os
import subprocess

import pytest

from support.cli import as_float, is_one_error_line, lines, record, write_npy

COUNT = 40


@pytest.fixture
def store(vkb, store_dir):
    vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes",
        input=lines(map(record, range(COUNT))))  # fmt: skip
    return store_dir


@pytest.fixture
def ask(vkb, store):
    """Runs a verb on the filled store; gives its JSON document."""

    def run(*arguments, **options):
        return json.loads(vkb(*arguments, "--path", store, "--json", **options).stdout)

    return run


def floats(numbers):
    return [as_float(number) for number in numbers]


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def nearest(query, numbers=range(COUNT)):
    return sorted(
        (cosine(floats(query), floats(record(i)["embedding"])), f"n{i}") for i in numbers
    )


# add


def test_add_reports_and_is_an_upsert(vkb, store_dir, tmp_path):
    file = tmp_path / "notes.jsonl"
    file.write_text(lines(map(record, range(5))) + "\n   \n")
    where = ["--path", store_dir, "--collection", "notes", "--json"]
    first = json.loads(vkb("add", "--jsonl", file, *where).stdout)
    assert first == {"collection": "notes", "stored": 5, "count": 5}
    again = json.loads(vkb("add", "--jsonl", "-", *where, input=lines([record(4), record(5)])).stdout)
    assert again == {"collection": "notes", "stored": 2, "count": 6}


def test_add_makes_the_collection_as_asked(vkb, store_dir):
    vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes", "--space", "l2",
        "--dim", 8, "--model", "some-model", "--m", 24, "--ef-construction", 150,
        input=lines([record(1)]))  # fmt: skip
    info = json.loads(vkb("info", "--path", store_dir, "--json").stdout)
    assert (info["space"], info["dim"], info["model"], info["m"], info["ef_construction"]) == (
        "l2", 8, "some-model", 24, 150,
    )  # fmt: skip
    for flags, named in (
        (["--space", "ip"], "l2"),
        (["--dim", 9], "dim 8"),
        (["--model", "other"], "some-model"),
    ):
        done = vkb("add", "--jsonl", "-", "--path", store_dir, *flags, check=False,
                   input=lines([record(2)]))  # fmt: skip
        assert done.returncode in (1, 2)
        assert named in done.stderr
    assert vkb("count", "--path", store_dir).stdout == "1\n"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "not JSON"),
        ("[]", "object"),
        ('{"embedding": [1]}', '"id"'),
        ('{"id": "x"}', "embedding"),
        ('{"id": "x", "document": "text"}', "--embed-url"),
        ('{"id": "x", "embedding": [1, 2]}', "2 dimensions, expected 8"),
        ('{"id": "x", "embedding": [1e39, 0, 0, 0, 0, 0, 0, 0]}', "float"),
        ('{"id": "x", "embedding": [0, 0, 0, 0, 0, 0, 0, 1], "metadata": {"a": {}}}', "'a'"),
        ('{"id": "x", "vector": [1]}', '"vector"'),
    ],
)
def test_a_bad_line_is_named_and_whole_batches_before_it_stay(vkb, store_dir, line, named):
    text = lines(record(i) for i in range(1100)) + line + "\n" + lines([record(2000)])
    done = vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes", check=False,
               input=text)  # fmt: skip
    assert done.returncode == 1
    assert is_one_error_line(done.stderr), done.stderr
    assert "line 1101:" in done.stderr and named in done.stderr
    assert "the 1,000 records of lines 1 to 1000 are stored" in done.stderr
    assert vkb("count", "--path", store_dir).stdout == "1000\n"


@pytest.mark.parametrize(
    ("flags", "text", "code", "named"),
    [
        (["--jsonl", "none.jsonl"], "", 1, "none.jsonl"),
        (["--jsonl", "."], "", 1, "directory"),
        (["--collection", "a b"], "", 2, "Expected a name"),
        (["--space", "cosines"], "", 2, "--space"),
        (["--m", 1], "", 2, "--m"),
        (["--memory-limit", 5], "", 2, "--memory-limit"),
        ([], "{", 1, "line 1: not JSON"),
        ([], '{"id": "", "embedding": [1]}', 1, "line 1: "),
        ([], '{"id": "x", "embedding": [' + "1," * 16_384 + "1]}", 1, "expected at most 16384"),
        (["--dim", 3], '{"id": "x", "embedding": [1]}', 1, "1 dimensions, expected 3"),
        ([], '{"id": "x", "document": "text"}', 1, "--embed-url"),
        (["--embed-url", "http://127.0.0.1:1", "--model", "tiny"],
         '{"id": "x", "document": "text"}', 1, "127.0.0.1:1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("there", ["nothing", "directory", "store"])
def test_a_failed_add_makes_nothing(vkb, store_dir, flags, text, code, named, there):
    if there == "directory":
        store_dir.mkdir()
    if there == "store":
        vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "old", input="")
    collection = [] if "--collection" in flags else ["--collection", "notes"]
    source = [] if "--jsonl" in flags else ["--jsonl", "-"]
    done = vkb("add", *source, "--path", store_dir, *collection, *flags, check=False, input=text)
    assert done.returncode == code
    assert is_one_error_line(done.stderr), done.stderr
    assert named in done.stderr
    if there == "nothing":
        assert not store_dir.exists()
    if there == "directory":
        assert list(store_dir.iterdir()) == []
    if there == "store":
        assert vkb("collections", "--path", store_dir).stdout.split()[0] == "old"
        assert "notes" not in vkb("collections", "--path", store_dir).stdout


def test_add_asks_for_the_name_of_a_new_collection(vkb, store_dir):
    done = vkb("add", "--jsonl", "-", "--path", store_dir, check=False, input="")
    assert done.returncode == 2
    assert "--collection" in done.stderr
    assert not store_dir.exists()


def test_an_add_of_no_lines_makes_the_collection(vkb, store_dir):
    where = ["--path", store_dir, "--collection", "notes", "--json"]
    done = json.loads(vkb("add", "--jsonl", "-", *where, input="\n").stdout)
    assert done == {"collection": "notes", "stored": 0, "count": 0}
    assert vkb("count", "--path", store_dir).stdout == "0\n"


# export


def test_export_gives_the_same_lines_back_bit_for_bit(vkb, store, tmp_path):
    numbers = [0.1, -0.0, 1e-45, 3.4028234663852886e38, 1.1754943508222875e-38, 1 / 3, 16777217, 5]
    special = {"id": "special", "embedding": numbers, "metadata": {"f": 2.0, "i": 2, "l": [1.5]}}
    vkb("add", "--jsonl", "-", "--path", store, input=lines([special]))
    text = vkb("export", "--jsonl", "-", "--path", store).stdout
    records = [json.loads(line) for line in text.splitlines()]
    assert [each["id"] for each in records] == [f"n{i}" for i in range(COUNT)] + ["special"]
    assert records[3] == {**record(3), "embedding": records[3]["embedding"]}
    for exported, given in zip(records, [*map(record, range(COUNT)), special]):
        back = [as_float(x).hex() for x in exported["embedding"]]
        assert back == [as_float(x).hex() for x in given["embedding"]]
    assert '"f":2.0' in text and '"i":2' in text
    assert set(records[-1]) == {"id", "embedding", "metadata"}

    copy = tmp_path / "copy"
    vkb("add", "--jsonl", "-", "--path", copy, "--collection", "notes", input=text)
    assert vkb("export", "--jsonl", "-", "--path", copy).stdout == text
    file = tmp_path / "out.jsonl"
    done = vkb("export", "--jsonl", file, "--path", copy, "--json")
    assert json.loads(done.stdout) == {
        "collection": "notes", "exported": COUNT + 1, "file": str(file)
    }  # fmt: skip
    assert file.read_text() == text
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_export_replaces_no_pipe_and_no_link(vkb, store, tmp_path):
    text = vkb("export", "--jsonl", "-", "--path", store).stdout
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        vkb("export", "--jsonl", pipe, "--path", store)
        assert reader.communicate()[0] == text
    assert pipe.is_fifo()
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    vkb("export", "--jsonl", link, "--path", store)
    assert link.is_symlink()
    assert target.read_text() == text
    nowhere = tmp_path / "nowhere"
    nowhere.symlink_to(tmp_path / "none")
    for file in (nowhere, tmp_path):
        refused = vkb("export", "--jsonl", file, "--path", store, check=False)
        assert refused.returncode == 1
        assert is_one_error_line(refused.stderr)
    assert nowhere.is_symlink()


def test_export_to_a_place_that_is_not_there(vkb, store, tmp_path):
    done = vkb("export", "--jsonl", tmp_path / "none" / "x.jsonl", "--path", store, check=False)
    assert done.returncode == 1
    assert is_one_error_line(done.stderr)


# get


def test_get_is_chromas_get_result(ask):
    found = ask("get", "--id", "n3", "n1", "--id", "missing")
    assert found == {
        "ids": ["n1", "n3"],
        "embeddings": None,
        "documents": [record(1)["document"], record(3)["document"]],
        "uris": None,
        "metadatas": [record(1)["metadata"], record(3)["metadata"]],
        "include": ["documents", "metadatas"],
    }


def test_get_includes_what_is_asked_for(ask):
    found = ask("get", "--id", "n3", "--include", "embeddings,uris")
    assert floats(found["embeddings"][0]) == floats(record(3)["embedding"])
    assert found["uris"] == [record(3)["uri"]]
    assert found["documents"] is None and found["metadatas"] is None
    assert found["include"] == ["embeddings", "uris"]
    assert ask("get", "--id", "n3", "--include", "")["include"] == []


def test_get_filters_and_pages(ask):
    even = [f"n{i}" for i in range(0, COUNT, 2)]
    assert ask("get", "--where", '{"even": true}')["ids"] == even
    assert ask("get", "--where", '{"even": true}', "--limit", 3, "--offset", 2)["ids"] == even[2:5]
    assert ask("get", "--where-document", '{"$contains": "Document 17"}')["ids"] == ["n17"]
    both = ["--where", '{"group": 1}', "--where-document", '{"$contains": "Document 1"}']
    assert ask("get", *both)["ids"] == ["n1", "n10", "n13", "n16", "n19"]
    assert ask("get", "--limit", 0)["ids"] == []
    assert ask("get", "--id", "[n1]")["ids"] == []


def test_get_for_people(vkb, store):
    text = vkb("get", "--id", "n3", "--path", store).stdout
    assert text.startswith("n3\n")
    assert "Document 3…" in text and '"group":0' in text


# query


def test_query_is_chromas_query_result(ask):
    query = record(7)["embedding"]
    found = ask("query", "--vector", json.dumps(query), "-k", 5)
    expected = nearest(query)[:5]
    assert found["ids"] == [[name for _, name in expected]]
    assert found["distances"][0] == pytest.approx([d for d, _ in expected], abs=1e-5)
    numbers = [int(name[1:]) for _, name in expected]
    assert found["documents"] == [[record(i)["document"] for i in numbers]]
    assert found["metadatas"] == [[record(i)["metadata"] for i in numbers]]
    assert found["embeddings"] is None and found["uris"] is None
    assert found["include"] == ["documents", "metadatas", "distances"]
    assert set(found) == {
        "ids", "embeddings", "documents", "uris", "metadatas", "distances", "include",
        "elapsed_ms", "open_ms",
    }  # fmt: skip
    assert found["elapsed_ms"] >= 0 and found["open_ms"] > 0


def test_query_default_k_exact_and_ef(ask):
    vector = json.dumps(record(7)["embedding"])
    assert len(ask("query", "--vector", vector)["ids"][0]) == 10
    assert len(ask("query", "--vector", vector, "-k", 10000)["ids"][0]) == COUNT
    exact = ask("query", "--vector", vector, "--exact")
    assert ask("query", "--vector", vector, "--ef", 64)["ids"] == exact["ids"]


def test_query_with_filters(ask):
    query = record(7)["embedding"]
    found = ask("query", "--vector", json.dumps(query), "--where", '{"group": {"$ne": 1}}')
    expected = nearest(query, [i for i in range(COUNT) if i % 3 != 1])[:10]
    assert found["ids"] == [[name for _, name in expected]]
    none = ask("query", "--vector", json.dumps(query), "--where", '{"group": 9}')
    assert none["ids"] == [[]] and none["documents"] == [[]] and none["distances"] == [[]]


def test_query_explains_itself(vkb, store, ask):
    vectors = json.dumps([record(1)["embedding"], record(2)["embedding"]])
    flags = ("query", "--vector", vectors, "--where", '{"group": 1}', "--explain")
    vkb("compact", "--path", store)
    first, second = ask(*flags)["explain"]
    assert (first["filter"], second["filter"]) == ("compiled", "from cache")
    (segment,) = first["segments"]
    assert (segment["plan"], segment["rows"], segment["selected"]) == ("flat", COUNT, COUNT // 3)
    assert segment["compared"] == COUNT // 3 and first["ef"] == 192 and first["log_rows"] == 0
    assert 0 < first["search_us"] < first["total_us"]
    text = vkb(*flags, "--path", store).stdout
    assert f"flat, {COUNT // 3} of {COUNT} rows" in text and "filter from cache" in text
    plain = ask("query", "--vector", vectors, "--ef", 64, "--explain")["explain"][0]
    assert plain["filter"] is None and plain["ef"] == 64


def test_query_includes_what_is_asked_for(ask):
    found = ask("query", "--like", "n3", "-k", 1, "--include", "embeddings,uris")
    assert floats(found["embeddings"][0][0]) == floats(record(3)["embedding"])
    assert found["uris"] == [[record(3)["uri"]]]
    assert found["distances"] is None and found["documents"] is None


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_query_with_a_vector_file(ask, tmp_path, dtype):
    rows = [record(i)["embedding"] for i in (1, 2, 3)]
    file = write_npy(tmp_path / "q.npy", (3, 8), dtype, sum(rows, []))
    found = ask("query", "--vector-file", file, "-k", 2)
    assert [ids[0] for ids in found["ids"]] == ["n1", "n2", "n3"]
    assert [len(ids) for ids in found["ids"]] == [2, 2, 2]
    one = write_npy(tmp_path / "one.npy", (8,), dtype, rows[0])
    assert ask("query", "--vector-file", one, "-k", 1)["ids"] == [["n1"]]


def test_query_with_several_vectors(ask):
    vectors = json.dumps([record(1)["embedding"], record(2)["embedding"]])
    assert ask("query", "--vector", vectors, "-k", 1)["ids"] == [["n1"], ["n2"]]


def test_query_like_has_the_record_itself_first(vkb, store, ask):
    for number in range(5):
        assert ask("query", "--like", f"n{number}", "-k", 3)["ids"][0][0] == f"n{number}"
    twin = {**record(4), "id": "twin"}
    vkb("add", "--jsonl", "-", "--path", store, input=lines([twin]))
    for name, other in (("n4", "twin"), ("twin", "n4")):
        assert ask("query", "--like", name, "-k", 2)["ids"] == [[name, other]]
    done = vkb("query", "--like", "nobody", "--path", store, check=False)
    assert done.returncode == 1
    assert "'nobody'" in done.stderr


def test_a_wrong_dimension_is_named(vkb, store, tmp_path):
    file = write_npy(tmp_path / "q.npy", (1, 5), "<f4", [1, 2, 3, 4, 5])
    for flags in (["--vector", "[1, 2, 3, 4, 5]"], ["--vector-file", file]):
        done = vkb("query", *flags, "--path", store, check=False)
        assert done.returncode == 1
        assert is_one_error_line(done.stderr)
        assert "5 dimensions" in done.stderr and "8" in done.stderr


def test_bad_vector_files_are_named(vkb, store, tmp_path):
    good = write_npy(tmp_path / "good.npy", (1, 8), "<f4", range(8)).read_bytes()
    for name, content in {
        "text.npy": b"hello",
        "cut.npy": good[:-3],
        "double.npy": good.replace(b"<f4", b"<f8"),
        "ints.npy": good.replace(b"<f4", b"<i4"),
        "nan.npy": good[:-4] + b"\x00\x00\xc0\x7f",
    }.items():
        (tmp_path / name).write_bytes(content)
        done = vkb("query", "--vector-file", tmp_path / name, "--path", store, check=False)
        assert done.returncode == 1
        assert is_one_error_line(done.stderr)
        assert name in done.stderr
    done = vkb("query", "--vector-file", "none.npy", "--path", store, check=False)
    assert done.returncode == 1 and "none.npy" in done.stderr


def test_query_for_people(vkb, store):
    text = vkb("query", "--like", "n3", "-k", 2, "--path", store).stdout
    first, *_, last = text.splitlines()
    assert first == "  1  0.0000  n3"
    assert "Document 3…" in text
    assert last.startswith("2 results in ") and "store opened in" in last


def test_text_for_a_terminal_is_harmless(vkb, store):
    evil = {**record(3), "id": "evil\x1b[2J", "document": "\x1b]0;title\x07text"}
    vkb("add", "--jsonl", "-", "--path", store, input=lines([evil]))
    text = vkb("query", "--like", "n3", "-k", 2, "--path", store).stdout
    assert "evil" in text and "\x1b" not in text and "\x07" not in text


# delete


def test_delete_by_id_and_by_condition(vkb, store, ask):
    assert ask("delete", "--id", "n1", "--id", "n2", "missing") == {"deleted": 2}
    assert ask("delete", "--where", '{"group": 0}', "--id", "n3", "--id", "n4") == {"deleted": 1}
    groups = len([i for i in range(COUNT) if i % 3 == 0]) - 1
    assert ask("delete", "--where", '{"group": 0}') == {"deleted": groups}
    assert ask("delete", "--where-document", '{"$contains": "Document 38"}') == {"deleted": 1}
    left = ask("count")["count"]
    assert left == COUNT - 2 - 1 - groups - 1
    assert "n3" not in ask("query", "--vector", json.dumps(record(3)["embedding"]))["ids"][0]
    assert vkb("delete", "--id", "n4", "--path", store).stdout == "deleted 1 record\n"


def test_delete_without_a_condition_deletes_nothing(vkb, store):
    done = vkb("delete", "--path", store, check=False)
    assert done.returncode == 2
    assert vkb("count", "--path", store).stdout == f"{COUNT}\n"


@pytest.mark.parametrize("flag", ["--text", "--vector", "--vector-file", "--like"])
def test_an_empty_question_is_wrong_usage(vkb, store, flag):
    done = vkb("query", flag, "", "--path", store, check=False)
    assert done.returncode == 2
    assert is_one_error_line(done.stderr)
    assert f"{flag}: is empty" in done.stderr
