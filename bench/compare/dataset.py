# SPDX-License-Identifier: Apache-2.0
"""What all peers are given: vectors, queries, fields, filters, and the exact answers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
import pathlib
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np

K = 10
TRUTH_ROWS = 100  # how many of the nearest the cached truth names

_COMPARE = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}


def unit(rows: np.ndarray) -> np.ndarray:
    """As float32 of unit length; zero rows stay zero."""
    rows = np.asarray(rows, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if np.allclose(length, 1, atol=1e-5):
        return np.ascontiguousarray(rows)
    return rows / np.where(length == 0, 1, length)


def matches(where: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether a record's fields match a filter in Chroma's syntax."""
    [(key, condition)] = where.items()
    if key in ("$and", "$or"):
        return (all if key == "$and" else any)(matches(each, record) for each in condition)
    if not isinstance(condition, dict):
        condition = {"$eq": condition}
    [(name, value)] = condition.items()
    return record.get(key) is not None and bool(_COMPARE[name](record[key], value))


def fields_of(where: dict[str, Any]) -> set[str]:
    """The fields that a filter names."""
    [(key, condition)] = where.items()
    return set().union(*map(fields_of, condition)) if key in ("$and", "$or") else {key}


@dataclasses.dataclass
class Dataset:
    """A prepared data set; save() and load() keep all but the vectors and texts in one folder."""

    folder: pathlib.Path
    vectors_file: str
    rows: int
    m: int
    ef_construction: int
    texts_file: Optional[str] = None  # JSON lines with "text", in the order of the vectors
    word: Optional[str] = None  # one that few texts contain

    def save(self) -> None:
        values = {**dataclasses.asdict(self), "folder": None}
        (self.folder / "data.json").write_text(json.dumps(values))

    @classmethod
    def load(cls, folder: pathlib.Path) -> Dataset:
        values = json.loads((folder / "data.json").read_text())
        return cls(**{**values, "folder": folder})

    @functools.cached_property
    def vectors(self) -> np.ndarray:
        """[rows, dim] as in the file, mapped."""
        return np.load(self.vectors_file, mmap_mode="r")[: self.rows]

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    def blocks(self, size: int = 10_000) -> Iterator[tuple[int, np.ndarray]]:
        """All vectors in order: the first row's number, and float32 [<= size, dim]."""
        for start in range(0, self.rows, size):
            yield start, unit(self.vectors[start : start + size])

    def sample(self, count: int) -> np.ndarray:
        """Vectors spread evenly over all rows, at most `count`."""
        return unit(self.vectors[:: max(1, -(-self.rows // count))])

    @functools.cached_property
    def queries(self) -> np.ndarray:
        return np.load(self.folder / "queries.npy")

    @functools.cached_property
    def truth(self) -> np.ndarray:
        return np.load(self.folder / "truth.npy")

    def filter_truth(self, name: str) -> np.ndarray:
        """int32 [queries, K]; -1 where fewer match."""
        return np.load(self.folder / f"truth_{name}.npy")

    @functools.cached_property
    def fields(self) -> dict[str, list[Any]]:
        """The values of each field that a filter names, None where a row has none."""
        return json.loads((self.folder / "fields.json").read_text())

    @functools.cached_property
    def filters(self) -> list[dict[str, Any]]:
        """[{"name", "where", "share"}]"""
        return json.loads((self.folder / "filters.json").read_text())

    def metadata(self, start: int, end: int) -> list[dict[str, Any]]:
        """Of rows start..end-1; None values are left out."""
        columns = [(name, values[start:end]) for name, values in self.fields.items()]
        return [
            {name: values[i] for name, values in columns if values[i] is not None}
            for i in range(end - start)
        ]

    def texts(self, start: int, end: int) -> Optional[list[str]]:
        """Of rows start..end-1, read in order; None when the data set has none."""
        if self.texts_file is None:
            return None
        if start == 0:
            self._lines = open(self.texts_file, encoding="utf-8")
        texts = [json.loads(next(self._lines))["text"] for _ in range(start, end)]
        if end == self.rows:
            self._lines.close()
        return texts


def fingerprint(vectors_file: pathlib.Path, rows: int, *settings: object) -> str:
    """Names a data set with its settings: equal ones share built indexes."""
    vectors = np.load(vectors_file, mmap_mode="r")
    ends = vectors[0].tobytes() + vectors[rows // 2].tobytes() + vectors[rows - 1].tobytes()
    description = json.dumps([vectors.shape[1], rows, *settings], sort_keys=True)
    return hashlib.sha256(ends + description.encode()).hexdigest()[:12]


def read_metadata(path: pathlib.Path, rows: int, names: set[str]) -> dict[str, list[Any]]:
    """The named fields of the first `rows` lines, {"metadata": {...}} each."""
    columns: dict[str, list[Any]] = {name: [] for name in sorted(names)}
    with open(path, encoding="utf-8") as lines:
        for _, line in zip(range(rows), lines):
            metadata = json.loads(line)["metadata"]
            for name, values in columns.items():
                values.append(metadata.get(name))
    short = [name for name, values in columns.items() if len(values) != rows]
    if short:
        raise ValueError(f"{path}: fewer than {rows} lines")
    return columns


def rare_word(path: pathlib.Path, rows: int, share: float = 2e-4) -> Optional[str]:
    """A word of letters that about `share` of the texts have, at least 20 of them."""
    counts: dict[str, int] = {}
    with open(path, encoding="utf-8") as lines:
        for _, line in zip(range(rows), lines):
            for word in set(json.loads(line)["text"].split()):
                if len(word) >= 6 and word.isalpha():
                    counts[word] = counts.get(word, 0) + 1
    wanted = max(20, share * rows)
    return min(counts, key=lambda word: (abs(counts[word] - wanted), word), default=None)


def _merge(best: tuple[np.ndarray, np.ndarray], scores: np.ndarray, rows: np.ndarray) -> Any:
    """The best of what was found before and of a block's [queries, n] scores."""
    wide = np.concatenate([best[0], scores], axis=1)
    names = np.concatenate([best[1], np.broadcast_to(rows, scores.shape)], axis=1)
    order = np.argsort(-wide, axis=1, kind="stable")[:, : best[0].shape[1]]
    return np.take_along_axis(wide, order, 1), np.take_along_axis(names, order, 1)


def exact_answers(
    data: Dataset, masks: dict[str, Optional[np.ndarray]], counts: dict[str, int]
) -> dict[str, np.ndarray]:
    """The exact nearest rows of every query, for each mask of rows (None: all). int32, -1 for no
    more. One pass over the vectors, in blocks."""
    queries = data.queries
    found: dict[str, Any] = {}
    for name, count in counts.items():
        shape = (len(queries), min(count, data.rows))
        found[name] = (np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32))
    for start, block in data.blocks():
        scores = queries @ block.T
        for name, mask in masks.items():
            columns = np.arange(len(block))
            if mask is not None:
                columns = columns[mask[start : start + len(block)]]
            part = scores[:, columns]
            top = min(found[name][0].shape[1], part.shape[1])
            if top == 0:
                continue
            best = np.argpartition(-part, top - 1, axis=1)[:, :top]
            rows = (columns[best] + start).astype(np.int32)
            found[name] = _merge(found[name], np.take_along_axis(part, best, 1), rows)
    return {name: rows for name, (_, rows) in found.items()}


def recall(found: list[list[int]], truth: np.ndarray) -> float:
    """The mean part of the true rows [n, k] that was found; -1 in the truth is no row."""
    parts = []
    for rows, true in zip(found, truth.tolist()):
        wanted = {row for row in true if row >= 0}
        if wanted:
            parts.append(len(wanted & set(rows)) / len(wanted))
    return float(np.mean(parts)) if parts else 1.0
