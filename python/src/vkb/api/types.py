# SPDX-License-Identifier: Apache-2.0
"""Chroma's place for vkb.types and the functions beside them."""

from .. import schema as _schema
from .. import types as _types
from ..embedding_functions import DefaultEmbeddingFunction, EmbeddingFunction
from ..schema import *  # noqa: F403
from ..types import *  # noqa: F403

__all__ = [  # noqa: PLE0604
    "DefaultEmbeddingFunction",
    "EmbeddingFunction",
    *_schema.__all__,
    *_types.__all__,
]
