# SPDX-License-Identifier: Apache-2.0
"""The expressions that a search is made of: conditions (Where, Key) and rankings (Rank, Knn).

Each is a small JSON object inside; `to_dict()` shows it, `from_dict()` reads it.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np

from .validation import is_sparse


class Where:
    """A condition on records. `&` and `|` combine two."""

    def __init__(self, clause: Dict[str, Any]) -> None:
        self._clause = clause

    def to_dict(self) -> Dict[str, Any]:
        """As JSON."""
        return self._clause

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "Where":
        """From JSON; a field with a plain value means equality."""
        if not isinstance(data, dict):
            raise TypeError(f"Expected dict for Where, got {type(data).__name__}")
        if len(data) != 1:
            raise ValueError(f"Where dict must contain exactly one field, got {len(data)}")
        ((key, value),) = data.items()
        if key in ("$and", "$or"):
            if not isinstance(value, list):
                raise TypeError(f"{key} must be a list, got {type(value).__name__}")
            if not value:
                raise ValueError(f"{key} requires at least one condition")
            parts = [Where.from_dict(each).to_dict() for each in value]
            return Where({key: parts} if len(parts) > 1 else parts[0])
        if not isinstance(key, str):
            raise TypeError(f"Field name must be a string, got {type(key).__name__}")
        if isinstance(value, dict):
            if len(value) != 1:
                raise ValueError(
                    f"Operator dict for field '{key}' must contain exactly one operator"
                )
            (operator,) = value
            if operator not in _WHERE_OPERATORS:
                raise ValueError(f"Unknown operator: {operator}")
            return Where({key: dict(value)})
        return Where({key: {"$eq": value}})

    def __and__(self, other: "Where") -> "Where":
        return _joined("$and", self, other)

    def __or__(self, other: "Where") -> "Where":
        return _joined("$or", self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Where) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return f"Where({self._clause!r})"


_WHERE_OPERATORS = (
    *("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"),
    *("$contains", "$not_contains", "$regex", "$not_regex"),
)


def _joined(operator: str, left: Where, right: Where) -> Where:
    parts: List[Any] = []
    for side in (left, right):
        clause = side.to_dict()
        parts += clause[operator] if operator in clause else [clause]
    return Where({operator: parts})


class Key:
    """A field of the records: K("year") one of the metadata, K.DOCUMENT, K.ID, K.EMBEDDING,
    K.METADATA and K.SCORE those that are always there. Comparing one makes a Where."""

    ID: "Key"
    DOCUMENT: "Key"
    EMBEDDING: "Key"
    METADATA: "Key"
    SCORE: "Key"

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Key({self.name!r})"

    def _is(self, operator: str, operand: Any) -> Where:
        return Where({self.name: {operator: operand}})

    def __eq__(self, value: Any) -> Where:  # type: ignore[override]
        return self._is("$eq", value)

    def __ne__(self, value: Any) -> Where:  # type: ignore[override]
        return self._is("$ne", value)

    def __gt__(self, value: Any) -> Where:
        return self._is("$gt", value)

    def __ge__(self, value: Any) -> Where:
        return self._is("$gte", value)

    def __lt__(self, value: Any) -> Where:
        return self._is("$lt", value)

    def __le__(self, value: Any) -> Where:
        return self._is("$lte", value)

    def is_in(self, values: List[Any]) -> Where:
        """The value is one of these."""
        return self._is("$in", list(values))

    def not_in(self, values: List[Any]) -> Where:
        """The value is none of these, or absent."""
        return self._is("$nin", list(values))

    def contains(self, value: Any) -> Where:
        """The document holds this text; the array under the key holds this element."""
        return self._is("$contains", self._text_for_documents(value))

    def not_contains(self, value: Any) -> Where:
        """Not contains()."""
        return self._is("$not_contains", self._text_for_documents(value))

    def regex(self, pattern: str) -> Where:
        """The document matches somewhere (RE2)."""
        return self._is("$regex", pattern)

    def not_regex(self, pattern: str) -> Where:
        """Not regex()."""
        return self._is("$not_regex", pattern)

    def _text_for_documents(self, value: Any) -> Any:
        if self.name == "#document" and not isinstance(value, str):
            raise TypeError("$contains on #document requires a string pattern")
        return value


Key.ID = Key("#id")
Key.DOCUMENT = Key("#document")
Key.EMBEDDING = Key("#embedding")
Key.METADATA = Key("#metadata")
Key.SCORE = Key("#score")
K = Key


def key_name(key: Union[Key, str]) -> str:
    return key if isinstance(key, str) else key.name


Number = Union[int, float]


class Rank:
    """How records are scored; the smallest score comes first. Numbers and ranks combine with
    + - * / and abs(), and with exp(), log(), max() and min()."""

    def __init__(self, expression: Dict[str, Any]) -> None:
        self._expression = expression

    def to_dict(self) -> Dict[str, Any]:
        """As JSON."""
        return self._expression

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "Rank":
        """From JSON."""
        if not isinstance(data, dict):
            raise TypeError(f"Expected dict for Rank, got {type(data).__name__}")
        if len(data) != 1:
            raise ValueError(f"Rank dict must contain exactly one operator, got {len(data)}")
        (operator,) = data
        if operator not in _RANK_OPERATORS:
            raise ValueError(f"Unknown rank operator: {operator}")
        return Rank(dict(data))

    def __add__(self, other: Union["Rank", Number]) -> "Rank":
        return _many("$sum", self, other)

    def __radd__(self, other: Number) -> "Rank":
        return _many("$sum", other, self)

    def __mul__(self, other: Union["Rank", Number]) -> "Rank":
        return _many("$mul", self, other)

    def __rmul__(self, other: Number) -> "Rank":
        return _many("$mul", other, self)

    def __sub__(self, other: Union["Rank", Number]) -> "Rank":
        return _two("$sub", self, other)

    def __rsub__(self, other: Number) -> "Rank":
        return _two("$sub", other, self)

    def __truediv__(self, other: Union["Rank", Number]) -> "Rank":
        return _two("$div", self, other)

    def __rtruediv__(self, other: Number) -> "Rank":
        return _two("$div", other, self)

    def __neg__(self) -> "Rank":
        return Val(-1) * self

    def __abs__(self) -> "Rank":
        return Rank({"$abs": self.to_dict()})

    def abs(self) -> "Rank":
        """Without the sign."""
        return self.__abs__()

    def exp(self) -> "Rank":
        """e to the power of it."""
        return Rank({"$exp": self.to_dict()})

    def log(self) -> "Rank":
        """Its natural logarithm."""
        return Rank({"$log": self.to_dict()})

    def max(self, other: Union["Rank", Number]) -> "Rank":
        """The larger of the two."""
        return _many("$max", self, other)

    def min(self, other: Union["Rank", Number]) -> "Rank":
        """The smaller of the two."""
        return _many("$min", self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rank) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return f"Rank({self.to_dict()!r})"


_RANK_OPERATORS = (
    *("$val", "$knn", "$sum", "$sub", "$mul", "$div"),
    *("$abs", "$exp", "$log", "$max", "$min"),
)


def _plain(rank: Union[Rank, Number]) -> Dict[str, Any]:
    if hasattr(rank, "to_dict"):
        return rank.to_dict()
    if isinstance(rank, bool) or not isinstance(rank, (int, float)):
        raise TypeError(f"expected a rank or a number, got {type(rank).__name__}")
    return {"$val": rank}


def _many(operator: str, left: Union[Rank, Number], right: Union[Rank, Number]) -> Rank:
    parts: List[Any] = []
    for side in map(_plain, (left, right)):
        parts += side[operator] if operator in side else [side]
    return Rank({operator: parts})


def _two(operator: str, left: Union[Rank, Number], right: Union[Rank, Number]) -> Rank:
    return Rank({operator: {"left": _plain(left), "right": _plain(right)}})


class Val(Rank):
    """The same score for every record."""

    def __init__(self, value: Number) -> None:
        super().__init__({"$val": value})


class Knn(Rank):
    """The distance from `query` of the `limit` nearest records.

    Args:
        query: a vector; or a text, which the collection's embedding function embeds.
        key: the field whose vectors are meant; only K.EMBEDDING has any.
        limit: how many of the nearest count.
        default: the score of the other records; None leaves them out.
        return_rank: score by place (0, 1, 2, …) instead of distance.
    """

    def __init__(
        self,
        query: Any,
        key: Union[Key, str] = K.EMBEDDING,
        limit: int = 16,
        default: Optional[float] = None,
        return_rank: bool = False,
    ) -> None:
        self.query, self.key, self.limit = query, key, limit
        self.default, self.return_rank = default, return_rank
        plain = query.tolist() if isinstance(query, np.ndarray) else query
        knn: Dict[str, Any] = {
            "query": query.to_dict() if is_sparse(query) else plain,
            "key": key_name(key),
            "limit": limit,
        }
        if default is not None:
            knn["default"] = default
        if return_rank:
            knn["return_rank"] = True
        super().__init__({"$knn": knn})


class Rrf(Rank):
    """Reciprocal rank fusion of several ranks, each best with return_rank=True: minus the sum of
    weight / (k + rank). With `normalize` the weights are made to sum to 1."""

    def __init__(
        self,
        ranks: Sequence[Rank],
        k: int = 60,
        weights: Optional[Sequence[float]] = None,
        normalize: bool = False,
    ) -> None:
        if not ranks:
            raise ValueError("RRF requires at least one rank")
        if k <= 0:
            raise ValueError(f"k must be positive, got {k}")
        if weights is not None and len(weights) != len(ranks):
            raise ValueError(
                f"Number of weights ({len(weights)}) must match number of ranks ({len(ranks)})"
            )
        if weights is not None and any(weight < 0 for weight in weights):
            raise ValueError("All weights must be non-negative")
        shares = list(weights) if weights else [1.0] * len(ranks)
        if normalize:
            total = sum(shares)
            if total == 0:
                raise ValueError("Sum of weights must be positive when normalize=True")
            shares = [share / total for share in shares]
        fused: Optional[Rank] = None
        for share, rank in zip(shares, ranks):
            term = share / (k + Rank(_plain(rank)))
            fused = term if fused is None else fused + term
        super().__init__((-fused).to_dict())  # type: ignore[operator]
