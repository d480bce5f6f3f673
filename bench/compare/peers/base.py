# SPDX-License-Identifier: Apache-2.0
"""What the comparison asks of a peer. A peer lives in one process; another one built its index."""

from __future__ import annotations

import abc
import pathlib
from typing import Any, Optional

import numpy as np
from dataset import Dataset


class Unsupported(Exception):
    """The peer has no such feature."""


class Peer(abc.ABC):
    """One engine on one folder. The constructor imports the engine's package and opens nothing.

    Vectors come as float32 of unit length. Rows are numbered from 0 in the order of the data set.
    Answers stay in the engine's own form until rows_of(), which is not timed.
    """

    name = ""
    package = ""  # the distribution whose version is recorded
    store = ""  # whose folder is opened; another peer's when both ask the same index
    about = ""  # one line: how it is set up
    remark = ""  # set by build() when something about the index is worth recording
    sweeps = True  # whether there is a beam width to set

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        self.folder = folder
        self.threads = threads
        self.ef = 0  # open() uses it when it is set before

    @abc.abstractmethod
    def build(self, data: Dataset) -> None:
        """Makes the index of all rows in the folder, which exists and is empty, on `threads`
        threads, and leaves it complete on disk."""

    @abc.abstractmethod
    def open(self) -> None:
        """Opens what build() left, ready for ask()."""

    def set_ef(self, ef: int) -> None:
        """The beam width of the next searches."""
        self.ef = ef

    def prepare(self, query: np.ndarray) -> Any:
        """The query [dim] in the form that the engine takes; not timed."""
        return query

    @abc.abstractmethod
    def ask(self, query: Any, k: int) -> Any:
        """The k nearest rows with their distances."""

    @abc.abstractmethod
    def rows_of(self, answer: Any) -> list[int]:
        """The row numbers of an answer, nearest first."""

    def ask_batch(self, queries: np.ndarray, k: int) -> Any:
        """Several queries [n, dim] in one call; the caller has left the process one core."""
        raise Unsupported("no call takes several queries")

    def batch_rows(self, answer: Any) -> list[list[int]]:
        """The row numbers of a batch's answer, a list a query."""
        return [self.rows_of(each) for each in answer]

    def prepare_filter(self, where: dict[str, Any]) -> Any:
        """A filter in Chroma's syntax in the engine's own language; not timed."""
        raise Unsupported("searches are not filtered by fields of records")

    def ask_filtered(self, query: Any, k: int, where: Any) -> Any:
        """As ask(), of the rows that match; `where` is from prepare_filter()."""
        raise Unsupported("searches are not filtered by fields of records")

    def ask_containing(self, query: Any, k: int, word: str) -> Any:
        """As ask(), of the rows whose text contains `word`."""
        raise Unsupported("searches are not filtered by parts of the text")

    def version(self) -> str:
        """Of the engine's package."""
        from importlib import metadata

        return metadata.version(self.package)

    def identity(self) -> str:
        """Changes when an index should be built anew."""
        return self.version()

    def close(self) -> None:
        """Ends the use of the index. May be called again."""


def value_type(values: list[Any]) -> Optional[type]:
    """The type of a field's values: bool, int, float or str; None when there is none."""
    found = {type(value) for value in values if value is not None}
    if found == {int, float}:
        return float
    return found.pop() if len(found) == 1 else None


_SQL = {"$eq": "=", "$ne": "!=", "$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}


def to_sql(where: dict[str, Any]) -> str:
    """A filter as the condition of an SQL WHERE clause."""
    [(key, condition)] = where.items()
    if key in ("$and", "$or"):
        parts = [f"({to_sql(each)})" for each in condition]
        return f" {key[1:].upper()} ".join(parts)
    [(operator, value)] = condition.items() if isinstance(condition, dict) else [("$eq", condition)]
    if isinstance(value, bool):
        literal = "true" if value else "false"
    elif isinstance(value, str):
        literal = "'" + value.replace("'", "''") + "'"
    else:
        literal = repr(value)
    return f"{key} {_SQL[operator]} {literal}"
