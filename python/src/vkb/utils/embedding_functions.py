# SPDX-License-Identifier: Apache-2.0
"""Chroma's place for vkb.embedding_functions."""

from ..embedding_functions import (
    DefaultEmbeddingFunction,
    EmbeddingFunction,
    OllamaEmbeddingFunction,
    known_embedding_functions,
    register_embedding_function,
)

__all__ = [
    "DefaultEmbeddingFunction",
    "EmbeddingFunction",
    "OllamaEmbeddingFunction",
    "known_embedding_functions",
    "register_embedding_function",
]
