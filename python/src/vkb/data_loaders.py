# SPDX-License-Identifier: Apache-2.0
"""What makes of URIs something to embed. Any `loader(uris)` will do; Chroma's are taken as well."""

from __future__ import annotations

import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import List, Optional, Sequence

import numpy as np

from .types import URI, DataLoader, Image


class ImageLoader(DataLoader):
    """Pictures from files, as arrays; None stays None. Needs the package `pillow`."""

    def __init__(self, max_workers: Optional[int] = None) -> None:
        try:
            self._image = importlib.import_module("PIL.Image")
        except ImportError as error:
            raise ValueError(
                "The PIL python package is not installed. Please install it with "
                "`pip install pillow`"
            ) from error
        self._max_workers = max_workers or os.cpu_count()

    def _load(self, uri: Optional[URI]) -> Optional[Image]:
        if uri is None:
            return None
        with self._image.open(uri) as picture:
            return np.array(picture)

    def __call__(self, uris: Sequence[Optional[URI]]) -> List[Optional[Image]]:
        """One array, or None, for each URI."""
        with ThreadPoolExecutor(self._max_workers) as pool:
            return list(pool.map(self._load, uris))
