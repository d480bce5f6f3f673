# SPDX-License-Identifier: Apache-2.0
"""Imports from a real Redis Stack: indexes, JSON documents, the layouts of other frameworks."""

import json
import pathlib

import numpy as np
import pytest

from support import kb

DIM = 16
REASONS = {
    "missing_vector": "missing_vector",
    "wrong_dim": "wrong_dimension",
    "odd_bytes": "vector_bytes_not_multiple_of_4",
    "float64": "wrong_dimension",
    "nan": "not_finite",
    "inf": "not_finite",
    "bad_utf8": "invalid_utf8",
    "wrong_type": "wrong_type",
    "empty_hash_like": "no_fields_of_the_layout",
}


@pytest.fixture
def run_import(vkb, store_dir, redis_stack):
    """import-redis with --json; returns (exit code, result or error line)."""

    def run(*arguments, url=None, env=None):
        done = vkb(
            "import-redis", url or redis_stack.url, "--path", store_dir, "--json", "--quiet",
            *arguments, check=False, env=env,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    return run


def unit_vectors(count, seed=3, dim=DIM):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype("<f4")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rejects_of(result):
    lines = pathlib.Path(result["rejects_file"]).read_text(encoding="utf-8").splitlines()
    rejects = {line["key"]: line for line in map(json.loads, lines)}
    assert len(rejects) == len(lines) == result["rejected"]
    return rejects


@pytest.mark.parametrize("layout", kb.LAYOUTS)
def test_a_knowledge_base_of_llamaindex_with_everything_odd_among_it(
    redis_stack, run_import, vkb, store_dir, layout
):
    client = redis_stack.client()
    chunks = list(kb.random_chunks(1500, dim=DIM))
    kb.write(client, chunks, "doc:", layout)
    kinds = {**dict.fromkeys(kb.BAD_KINDS, 2), "wrong_type": 5}
    odd = kb.write_bad(client, kinds, dim=DIM, layout=layout)
    others = kb.write_others(client, 210)
    kb.create_index(client, DIM)
    before = client.dbsize()

    code, result = run_import("--collection", "kb-1")
    assert code == 3, result
    assert result["index"] == "llama_index"
    assert result["plan"]["key_prefix"] == "doc:"
    assert result["other_keys_under_prefix"] == sum(k.startswith("doc") for k in others)
    rejects = rejects_of(result)
    twins = [e for e in odd if e["kind"] == "dup_id"]
    for entry in odd:
        reason = REASONS.get(entry["kind"])
        if entry["kind"] == "dup_id":
            continue
        assert (entry["key"] in rejects) == (reason is not None), entry
        if reason:
            assert rejects[entry["key"]]["reason"] == reason
    assert sum(e["key"] in rejects for e in twins) == len(twins) // 2
    accepted = len(chunks) + len(odd) - len(rejects)
    assert result["imported"] == accepted
    check = result["verification"]
    assert check["passed"] and check["count_ok"]
    assert check["records_proved"] == check["source_count"] == accepted
    assert check["samples_equal"] == check["samples_checked"] == 100
    assert check["overlap_reference"] in ("redis", "exact")
    assert check["top10_overlap"] >= 0.95
    assert check["poisoned"] == 6  # nan, inf, zero
    texts = result["text_sources"]
    assert (texts["node_text"], texts["empty"], texts["missing"]) == (2, 2, 2)
    assert client.dbsize() == before

    done = vkb("cleanup-redis", "--report", result["report"], "--json", "--quiet")
    assert json.loads(done.stdout)["unchanged"] == accepted
    assert client.dbsize() == before
    done = vkb("cleanup-redis", "--report", result["report"], "--yes", "--json", "--quiet")
    cleaned = json.loads(done.stdout)
    assert cleaned["deleted"] == accepted and cleaned["index_dropped"]
    assert cleaned["used_memory_after"] < cleaned["used_memory_before"]
    assert client.execute_command("FT._LIST") == []
    assert client.dbsize() == before - accepted == len(rejects) + len(others)
    assert client.exists(*others) == len(others)


def test_the_overlap_is_measured_against_redisearch(redis_stack, run_import):
    client = redis_stack.client()
    kb.write(client, kb.random_chunks(3000, dim=DIM))
    kb.create_index(client, DIM)
    code, result = run_import()
    assert code == 0, result
    assert result["collection"] == "llama_index"
    check = result["verification"]
    assert check["overlap_reference"] == "redis" and check["queries"] == 100
    assert check["top10_overlap"] >= 0.95
    assert 0 < check["source_recall_default"] <= 1
    assert 0 < check["top10_overlap_default"] <= 1


def test_several_indexes_are_listed_and_an_unknown_one_is_named(redis_stack, run_import):
    client = redis_stack.client()
    kb.write(client, kb.random_chunks(10, dim=DIM))
    kb.create_index(client, DIM, name="one")
    kb.write(client, kb.random_chunks(10, dim=DIM), prefix="other:")
    kb.create_index(client, DIM, name="two", prefix="other:")
    code, error = run_import()
    assert code == 1 and "one (" in error and "two (" in error and "--index" in error
    code, error = run_import("--index", "three")
    assert code == 1 and "three" in error and "one, two" in error.replace("two, one", "one, two")
    code, result = run_import("--index", "two")
    assert code == 0 and result["imported"] == 10
    assert result["plan"]["key_prefix"] == "other:"


@pytest.mark.parametrize("data_type, dtype", [("FLOAT32", "<f4"), ("FLOAT64", "<f8"), ("FLOAT16", "<f2")])
@pytest.mark.parametrize("metric, algorithm", [("L2", "FLAT"), ("IP", "HNSW")])
def test_other_metrics_and_types(redis_stack, run_import, vkb, store_dir, data_type, dtype, metric, algorithm):
    client = redis_stack.client()
    vectors = unit_vectors(200)
    client.execute_command(
        "FT.CREATE", "idx", "ON", "HASH", "PREFIX", 1, "p:", "SCHEMA", "body", "TEXT", "kind", "TAG",
        "page", "NUMERIC", "v", "AS", "vec", "VECTOR", algorithm, 6, "TYPE", data_type, "DIM", DIM,
        "DISTANCE_METRIC", metric,
    )  # fmt: skip
    for i, vector in enumerate(vectors):
        fields = {"v": vector.astype(dtype).tobytes(), "body": f"text {i}", "kind": "a", "page": i}
        client.hset(f"p:{i}", mapping=fields)
    while not kb.index_complete(client, "idx"):
        pass
    code, result = run_import("--collection", "kb-2")
    assert code == 0, result
    assert result["plan"]["layout"] == "other" and result["plan"]["space"] == metric.lower()
    assert result["plan"]["vector_type"] == data_type.lower()
    assert result["verification"]["top10_overlap"] >= 0.95
    got = vkb("get", "--path", store_dir, "--json", "--id", "7", "--include", "documents,metadatas,embeddings")
    record = json.loads(got.stdout)
    assert record["documents"] == ["text 7"]
    assert record["metadatas"] == [{"kind": "a", "page": 7}]
    expected = vectors[7].astype(dtype).astype("<f4")
    assert np.array_equal(np.array(record["embeddings"][0], "<f4"), expected)


def test_langchain_redis_hashes(redis_stack, run_import, vkb, store_dir):
    client = redis_stack.client()
    client.execute_command(
        "FT.CREATE", "lc", "ON", "HASH", "PREFIX", 1, "lc:", "SCHEMA", "text", "TEXT", "embedding",
        "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", DIM, "DISTANCE_METRIC", "COSINE", "_index_name",
        "TEXT", "_metadata_json", "TEXT",
    )  # fmt: skip
    for i, vector in enumerate(unit_vectors(50)):
        metadata = {"page": i, "score": 0.5, "tags": ["a", "b"], "draft": False}
        client.hset(f"lc:{i:026}", mapping={
            "text": f"text {i}", "embedding": vector.tobytes(), "_index_name": "lc",
            "_metadata_json": json.dumps(metadata), "page": i, "score": "0.5",
        })  # fmt: skip
    code, result = run_import("--collection", "kb-3")
    assert code == 0 and result["plan"]["layout"] == "LangChain"
    got = json.loads(vkb("get", "--path", store_dir, "--json", "--id", f"{3:026}").stdout)
    assert got["documents"] == ["text 3"]
    assert got["metadatas"] == [{"page": 3, "score": 0.5, "tags": ["a", "b"], "draft": False}]


def test_two_frameworks_that_share_a_prefix(redis_stack, run_import):
    """LangChain's older store begins its keys with doc: as well."""
    client = redis_stack.client()
    kb.write(client, kb.random_chunks(40, dim=DIM))
    kb.create_index(client, DIM, prefix="doc")
    client.execute_command(
        "FT.CREATE", "links", "ON", "HASH", "PREFIX", 1, "doc:links", "SCHEMA", "content", "TEXT",
        "content_vector", "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", DIM, "DISTANCE_METRIC",
        "COSINE", "page", "NUMERIC",
    )  # fmt: skip
    for i, vector in enumerate(unit_vectors(10)):
        fields = {"content": f"text {i}", "content_vector": vector.tobytes(), "page": i}
        client.hset(f"doc:links:{i:032x}", mapping=fields)
    code, result = run_import("--index", "links", "--collection", "links")
    assert code == 0 and result["plan"]["layout"] == "LangChain community"
    assert result["plan"]["key_prefix"] == "doc:links:" and result["imported"] == 10
    code, result = run_import("--index", "llama_index", "--collection", "nodes")
    assert code == 3 and result["imported"] == 40
    assert result["rejected_by_reason"] == {"no_fields_of_the_layout": 10}


def test_json_documents(redis_stack, run_import, vkb, store_dir):
    client = redis_stack.client()
    client.execute_command(
        "FT.CREATE", "jidx", "ON", "JSON", "PREFIX", 1, "jj:", "SCHEMA", "$.text", "AS", "text",
        "TEXT", "$.meta.kind", "AS", "kind", "TAG", "$.embedding", "AS", "emb", "VECTOR", "FLAT", 6,
        "TYPE", "FLOAT32", "DIM", DIM, "DISTANCE_METRIC", "COSINE",
    )  # fmt: skip
    vectors = unit_vectors(60)
    for i, vector in enumerate(vectors):
        document = {"text": f"Größe {i}", "embedding": vector.tolist(), "page": i, "ok": True,
                    "meta": {"kind": "a"}}  # fmt: skip
        client.execute_command("JSON.SET", f"jj:{i}", "$", json.dumps(document))
    rounded = {"text": "rounded", "embedding": [0.1] * DIM}
    client.execute_command("JSON.SET", "jj:rounded", "$", json.dumps(rounded))
    client.execute_command("JSON.SET", "jj:short", "$", json.dumps({"text": "t", "embedding": [1]}))
    client.set("jj:string", "x")
    code, result = run_import("--collection", "kb-4")
    assert code == 3, result
    assert result["imported"] == 61 and result["plan"]["storage"] == "json"
    assert result["rejected_by_reason"] == {"wrong_dimension": 1, "wrong_type": 1}
    assert result["verification"]["passed"]
    got = json.loads(
        vkb("get", "--path", store_dir, "--json", "--id", "7", "--include",
            "documents,metadatas,embeddings").stdout
    )  # fmt: skip
    assert got["documents"] == ["Größe 7"]
    assert got["metadatas"] == [{"meta": '{"kind":"a"}', "ok": True, "page": 7}]
    assert np.array_equal(np.array(got["embeddings"][0], "<f4"), vectors[7])
    done = vkb("cleanup-redis", "--report", result["report"], "--yes", "--json", "--quiet")
    assert json.loads(done.stdout)["deleted"] == 61
    assert client.dbsize() == 2


def test_the_rights_in_the_guide_are_enough_and_the_password_stays_secret(redis_stack, run_import):
    client = redis_stack.client()
    kb.write(client, kb.random_chunks(200, dim=DIM))
    kb.create_index(client, DIM)
    rights = "on >pass-word ~doc:* ~llama_index -@all +scan +hmget +hget +hgetall +type +ping +info"
    rights += " +dbsize +ft.info +ft._list +ft.search"
    client.execute_command("ACL", "SETUSER", "imp", *rights.split())
    try:
        url = f"redis://imp@127.0.0.1:{redis_stack.port}"
        code, error = run_import(url=url, env={"VKB_REDIS_PASSWORD": "wrong-pass-word"})
        assert code == 1 and "refuses" in error and "pass-word" not in error
        code, result = run_import(url=url, env={"VKB_REDIS_PASSWORD": "pass-word"})
        assert code == 0 and result["verification"]["overlap_reference"] == "redis"
        for file in pathlib.Path(result["report"]).iterdir():
            assert b"pass-word" not in file.read_bytes(), file
    finally:
        client.execute_command("ACL", "DELUSER", "imp")
