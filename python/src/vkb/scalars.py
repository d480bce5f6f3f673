# SPDX-License-Identifier: Apache-2.0
"""Single values of arguments, in the forms that the engine and JSON take."""

from __future__ import annotations

import json
import operator
from typing import Any, Dict, Optional

import numpy as np

from . import errors

# More records, collections or databases than this are all of them.
MAX_COUNT = 2**32 - 1


def count(what: str, value: Optional[Any], most: int = MAX_COUNT) -> Optional[int]:
    """A limit or offset: None, or any integer that is not negative, `most` if it is larger."""
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise errors.raisable(errors.InvalidArgumentError)(
            f"Expected {what} to be a non-negative integer, got {value!r}"
        )
    return min(int(number), most)


def checked_name(what: str, value: Any) -> str:
    """The name of a `what`, which has to be a str."""
    if not isinstance(value, str):
        raise TypeError(f"Expected the name of a {what} to be a str, got {type(value).__name__}")
    return value


def plain(value: Any) -> Any:
    """numpy's numbers, also as arrays without dimensions and in lists, as Python's."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    for kind, python in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, kind):
            return python(value)
    return value


def plain_values(metadata: Optional[Any]) -> Optional[Any]:
    """The metadata of a collection with numpy's numbers as Python's."""
    if not isinstance(metadata, dict):
        return metadata
    return {key: plain(value) for key, value in metadata.items()}


def to_json(value: Any, **options: Any) -> str:
    """As json.dumps, with numpy's numbers."""
    return json.dumps(value, default=_plain_or_refused, **options)


def _plain_or_refused(value: Any) -> Any:
    result = plain(value)
    if result is value:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return result


def page(limit: Optional[Any], offset: Optional[Any]) -> Dict[str, Optional[int]]:
    """Both, for a request."""
    return {"limit": count("limit", limit), "offset": count("offset", offset)}
