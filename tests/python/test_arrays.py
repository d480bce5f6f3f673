# SPDX-License-Identifier: Apache-2.0
"""Embeddings in and out: which arrays are taken, and what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

VALUES = np.array([[1, -2, 3], [4, 5, -6]])


def stored(notes: Any) -> np.ndarray:
    return notes.get(include=["embeddings"])["embeddings"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
def test_each_type_of_number(notes: Any, dtype: str):
    notes.add(ids=["a", "b"], embeddings=VALUES.astype(dtype))
    notes.add(ids=["c", "d"], embeddings=[row.astype(dtype) for row in VALUES])
    np.testing.assert_array_equal(stored(notes), np.vstack([VALUES, VALUES]))
    hits = notes.query(query_embeddings=VALUES[1].astype(dtype), n_results=1)
    assert hits["distances"] == [[0]]


@pytest.mark.parametrize(
    "embeddings",
    [
        np.asfortranarray(VALUES, dtype="float32"),
        np.repeat(VALUES, 2, axis=1)[:, ::2].astype("float64"),
        np.ascontiguousarray(VALUES[::-1].astype("float32"))[::-1],
        np.repeat(VALUES, 2, axis=1).astype("float32")[:, ::2],
        np.ascontiguousarray(VALUES.T.astype("int64")).T,
    ],
    ids=["columns first", "every other double", "rows backwards", "every other float", "ints"],
)
def test_each_memory_layout(notes: Any, embeddings: np.ndarray):
    notes.add(ids=["a", "b"], embeddings=embeddings)
    notes.upsert(ids=["c", "d"], embeddings=list(embeddings))
    np.testing.assert_array_equal(stored(notes), np.vstack([VALUES, VALUES]))


def test_arrays_that_cannot_be_written_or_are_not_aligned(notes: Any):
    frozen = VALUES.astype("float32")
    frozen.flags.writeable = False
    buffer = np.zeros(4 * VALUES.size + 1, "uint8")
    crooked = buffer[1:].view("float32").reshape(VALUES.shape)
    crooked[:] = VALUES
    assert not crooked.flags.aligned
    notes.add(ids=["a", "b"], embeddings=frozen)
    notes.add(ids=["c", "d"], embeddings=crooked)
    np.testing.assert_array_equal(stored(notes), np.vstack([VALUES, VALUES]))


def test_one_vector_and_lists(notes: Any):
    notes.add(ids="a", embeddings=[1.5, 2])
    notes.add(ids=["b"], embeddings=np.array([3, 4]))
    notes.add(ids=["c", "d"], embeddings=[[5, 6], [7, 8.5]])
    notes.add(ids=["e"], embeddings=[(9, 10)])
    np.testing.assert_array_equal(stored(notes), [[1.5, 2], [3, 4], [5, 6], [7, 8.5], [9, 10]])


@pytest.mark.parametrize(
    "embeddings",
    [
        np.array([["x", "y"]]),
        np.array([[1 + 2j, 3]]),
        np.array([[True, False]]),
        np.array([[1, 2]], dtype=">f4"),
        np.array([[1, 2]], dtype="uint8"),
        np.zeros((1, 0)),
        np.zeros((1, 1, 2)),
        [np.zeros((1, 2))],
        [[]],
        [["x"]],
        [[True]],
        [[None, 1.0]],
        "text",
        {"a": 1},
        object(),
    ],
    ids=repr,
)
def test_what_is_no_embedding(notes: Any, embeddings: Any):
    with pytest.raises((ValueError, TypeError)):
        notes.add(ids=["a"], embeddings=embeddings)
    assert notes.count() == 0


def test_lengths_that_differ(notes: Any):
    from vkb.errors import InvalidArgumentError

    for embeddings in ([[1.0, 2.0], [1.0]], [np.zeros(2), np.zeros(3)]):
        with pytest.raises(InvalidArgumentError, match="[Ii]nconsistent dimensions"):
            notes.add(ids=["a", "b"], embeddings=embeddings)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_numbers_that_are_not_finite(notes: Any, bad: float):
    from vkb.errors import InvalidArgumentError

    with pytest.raises(InvalidArgumentError, match="of record 0, id 'a': .* NaN or infinity"):
        notes.add(ids=["a"], embeddings=np.array([[0.0, bad]]))


def test_what_comes_back_is_an_array_of_its_own(notes: Any):
    notes.add(ids=["a", "b"], embeddings=VALUES)
    got = stored(notes)
    assert (got.dtype, got.shape, got.flags.owndata) == (np.float32, (2, 3), True)
    got[:] = 0
    np.testing.assert_array_equal(stored(notes), VALUES)
    hits = notes.query(query_embeddings=VALUES, include=["embeddings"])["embeddings"]
    assert [each.dtype for each in hits] == [np.float32] * 2
    np.testing.assert_array_equal(hits[1], VALUES[::-1])


def test_float32_comes_back_bit_for_bit(notes: Any):
    vectors = np.random.default_rng(7).normal(size=(50, 17)).astype("float32")
    vectors[0, :4] = [5e-324, 1e-40, -0.0, np.finfo("float32").max]
    notes.add(ids=[str(n) for n in range(50)], embeddings=vectors)
    assert stored(notes).tobytes() == vectors.tobytes()
