# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program share: records as JSON lines, and .npy files without NumPy."""

from __future__ import annotations

import json
import pathlib
import random
import struct
from collections.abc import Iterable, Sequence


def record(number: int, dim: int = 8) -> dict:
    """Record `number` of a small knowledge base; the same each time."""
    generator = random.Random(number)
    return {
        "id": f"n{number}",
        "embedding": [generator.uniform(-1, 1) for _ in range(dim)],
        "document": f"Document {number}\nof group {number % 3}",
        "metadata": {"even": number % 2 == 0, "group": number % 3, "half": number / 2},
        "uri": f"file:///{number}.txt",
    }


def lines(records: Iterable[dict]) -> str:
    return "".join(json.dumps(each) + "\n" for each in records)


def npy(shape: Sequence[int], dtype: str, numbers: Sequence[float]) -> bytes:
    """A .npy file; dtype is '<f4', '<f2', '<i4' or '<i8'."""
    code = {"<f4": "f", "<f2": "e", "<i4": "i", "<i8": "q"}[dtype]
    inner = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({inner}), }}\n".encode()
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header
        + struct.pack(f"<{len(numbers)}{code}", *numbers)
    )


def write_npy(
    path: pathlib.Path, shape: Sequence[int], dtype: str, numbers: Sequence[float]
) -> pathlib.Path:
    path.write_bytes(npy(shape, dtype, numbers))
    return path


def as_float(number: float) -> float:
    """The nearest 32-bit float."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


def is_one_error_line(text: str) -> bool:
    return text.startswith("vkb: error: ") and text.endswith("\n") and text.count("\n") == 1
