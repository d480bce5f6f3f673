# SPDX-License-Identifier: Apache-2.0
"""The sample knowledge bases of tests/support/kb.py have LlamaIndex's layout."""

import json

import numpy as np
import pytest

from support import kb


@pytest.mark.parametrize("layout", kb.LAYOUTS)
def test_a_node_as_llamaindex_stores_it(redis_server, layout):
    client = redis_server.client()
    chunks = list(kb.random_chunks(20, dim=16))
    keys = kb.write(client, chunks, "doc:", layout)
    assert client.dbsize() == 20
    stored = client.hgetall(keys[1])
    assert np.array_equal(np.frombuffer(stored[b"vector"], "<f4"), chunks[1].vector.astype("<f4"))
    assert stored[b"text"].decode() == chunks[1].text
    assert stored[b"page"] == b"1"
    assert (
        stored[b"doc_id"]
        == stored[b"document_id"]
        == stored[b"ref_doc_id"]
        == chunks[1].document_id.encode()
    )
    content = json.loads(stored[b"_node_content"])
    assert content["text"] == ""
    assert content["id_"] == chunks[1].id
    assert content["metadata"] == chunks[1].metadata
    assert set(content["relationships"]) == {"1", "2", "3"}
    assert content["relationships"]["2"]["node_id"] == chunks[0].id
    assert ("metadata_seperator" in content) == (layout != "0.14")
    assert (b"\\u" in stored[b"_node_content"]) == (layout != "0.14")
    assert next(reversed(content)) == "class_name"


def test_the_same_arguments_give_the_same_chunks():
    first, second = (list(kb.random_chunks(30, dim=8, seed=3)) for _ in range(2))
    assert [kb.hash_fields(c) for c in first] == [kb.hash_fields(c) for c in second]


def test_bad_records_have_the_defect_and_stand_in_the_manifest(redis_server):
    client = redis_server.client()
    manifest = kb.write_bad(client, {**dict.fromkeys(kb.BAD_KINDS, 1), "wrong_type": 5}, dim=8)
    assert {entry["kind"] for entry in manifest} == set(kb.BAD_KINDS)
    assert client.dbsize() == len(manifest) == len(kb.BAD_KINDS) + 4 + 1  # 5 wrong types, a twin
    key = {entry["kind"]: entry["key"] for entry in manifest}
    assert client.hget(key["missing_vector"], "vector") is None
    assert client.hstrlen(key["wrong_dim"], "vector") == 16
    assert client.hstrlen(key["odd_bytes"], "vector") == 31
    assert client.hstrlen(key["float64"], "vector") == 64
    assert np.isnan(np.frombuffer(client.hget(key["nan"], "vector"), "<f4")).sum() == 1
    assert np.isinf(np.frombuffer(client.hget(key["inf"], "vector"), "<f4")).sum() == 1
    assert client.hget(key["zero"], "vector") == bytes(32)
    with pytest.raises(ValueError):
        json.loads(client.hget(key["bad_json"], "_node_content"))
    assert client.hget(key["text_in_node"], "text") is None
    assert (
        "kind text_in_node" in json.loads(client.hget(key["text_in_node"], "_node_content"))["text"]
    )
    assert client.hstrlen(key["huge_text"], "text") == kb.HUGE_TEXT_BYTES
    with pytest.raises(UnicodeDecodeError):
        client.hget(key["bad_utf8"], "text").decode()
    assert client.hget(key["meta_clash"], "text") == b"metadata, not the text"
    assert client.ttl(key["expiring"]) > 0
    assert {client.type(e["key"]).decode() for e in manifest if e["kind"] == "wrong_type"} == set(
        kb.OTHER_TYPES
    )
    twins = [
        json.loads(client.hget(e["key"], "_node_content"))["id_"]
        for e in manifest
        if e["kind"] == "dup_id"
    ]
    assert len(twins) == 2 and twins[0] == twins[1]


def test_a_real_redisearch_finds_the_nodes(redis_stack):
    client = redis_stack.client()
    chunks = list(kb.random_chunks(200, dim=32))
    kb.create_index(client, dim=32, wait=False)
    kb.write(client, chunks)
    near = [key for key in kb.write_others(client, 70) if key.startswith("document_status:")]
    while not kb.index_complete(client, "llama_index"):
        pass
    vector = chunks[7].vector.astype("<f4").tobytes()
    options = ["PARAMS", 2, "v", vector, "SORTBY", "score", "DIALECT", 2, "NOCONTENT"]
    reply = client.execute_command(
        "FT.SEARCH", "llama_index", "*=>[KNN 3 @vector $v AS score]", *options
    )
    assert reply[1].decode() == "doc:" + chunks[7].id
    # The index's prefix is "doc", so "document_status:..." counts as well: num_docs is not the size
    # of the knowledge base.
    assert int(kb.index_info(client, "llama_index")["num_docs"]) == len(chunks) + len(near)
