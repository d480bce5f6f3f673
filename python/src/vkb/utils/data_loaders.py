# SPDX-License-Identifier: Apache-2.0
"""Chroma's place for vkb.data_loaders."""

from ..data_loaders import ImageLoader

__all__ = ["ImageLoader"]
