# SPDX-License-Identifier: Apache-2.0
"""Index libraries: vectors and row numbers, no records. Vectors have unit length, so inner product
and Euclidean distance rank as cosine does; each library gets the one that is quickest in it."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from dataset import Dataset

from peers.base import Peer


class Hnswlib(Peer):
    name = store = "hnswlib"
    package = "hnswlib"
    about = "float32, inner product, loaded into memory"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        import hnswlib

        self.module = hnswlib
        self.index: Any = None

    def build(self, data: Dataset) -> None:
        index = self.module.Index(space="ip", dim=data.dim)
        index.init_index(data.rows, M=data.m, ef_construction=data.ef_construction)
        for start, block in data.blocks():
            ids = np.arange(start, start + len(block))
            index.add_items(block, ids, num_threads=self.threads)
        index.save_index(str(self.folder / "index.bin"))
        (self.folder / "dim").write_text(str(data.dim))

    def open(self) -> None:
        self.index = self.module.Index(space="ip", dim=int((self.folder / "dim").read_text()))
        self.index.load_index(str(self.folder / "index.bin"))
        self.set_ef(self.ef or 10)

    def set_ef(self, ef: int) -> None:
        super().set_ef(ef)
        self.index.set_ef(ef)

    def ask(self, query: Any, k: int) -> Any:
        return self.index.knn_query(query, k, num_threads=1)

    def rows_of(self, answer: Any) -> list[int]:
        return answer[0][0].tolist()

    def ask_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.knn_query(queries, k, num_threads=1)

    def batch_rows(self, answer: Any) -> list[list[int]]:
        return answer[0].tolist()


class Usearch(Peer):
    name = store = "usearch"
    package = "usearch"
    about = "float32, inner product, a view of the mapped file"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        from usearch.index import Index

        self.module = Index
        self.index: Any = None

    def build(self, data: Dataset) -> None:
        index = self.module(
            ndim=data.dim,
            metric="ip",
            dtype="f32",
            connectivity=data.m,
            expansion_add=data.ef_construction,
        )
        for start, block in data.blocks():
            keys = np.arange(start, start + len(block), dtype=np.uint64)
            index.add(keys, block, threads=self.threads, copy=True)
        index.save(str(self.folder / "index.usearch"))

    def open(self) -> None:
        self.index = self.module.restore(str(self.folder / "index.usearch"), view=True)
        self.set_ef(self.ef or 10)

    def set_ef(self, ef: int) -> None:
        super().set_ef(ef)
        self.index.expansion_search = ef

    def ask(self, query: Any, k: int) -> Any:
        return self.index.search(query, k, threads=1)

    def rows_of(self, answer: Any) -> list[int]:
        return answer.keys.tolist()

    def ask_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.search(queries, k, threads=1)

    def batch_rows(self, answer: Any) -> list[list[int]]:
        return answer.keys.tolist()


class FaissFlat(Peer):
    name = store = "faiss-flat"
    package = "faiss-cpu"
    about = "HNSW over float32, Euclidean, read with IO_FLAG_MMAP_IFC"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        import faiss

        self.module = faiss
        self.index: Any = None

    def new_index(self, data: Dataset) -> Any:
        return self.module.IndexHNSWFlat(data.dim, data.m)

    def build(self, data: Dataset) -> None:
        self.module.omp_set_num_threads(self.threads)
        index = self.new_index(data)
        index.hnsw.efConstruction = data.ef_construction
        if not index.is_trained:
            index.train(data.sample(50_000))
        for _, block in data.blocks():
            index.add(block)
        self.module.write_index(index, str(self.folder / "index.faiss"))

    def open(self) -> None:
        self.module.omp_set_num_threads(1)
        path = str(self.folder / "index.faiss")
        self.index = self.module.read_index(path, self.module.IO_FLAG_MMAP_IFC)
        self.set_ef(self.ef or 10)

    def set_ef(self, ef: int) -> None:
        super().set_ef(ef)
        self.index.hnsw.efSearch = ef

    def prepare(self, query: np.ndarray) -> Any:
        return query[None]

    def ask(self, query: Any, k: int) -> Any:
        return self.index.search(query, k)

    def rows_of(self, answer: Any) -> list[int]:
        return answer[1][0].tolist()

    def ask_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.search(queries, k)

    def batch_rows(self, answer: Any) -> list[list[int]]:
        return answer[1].tolist()


class FaissSq8(FaissFlat):
    name = store = "faiss-sq8"
    about = "HNSW over 8-bit codes, Euclidean, read with IO_FLAG_MMAP_IFC; never re-ranked"

    def new_index(self, data: Dataset) -> Any:
        codes = self.module.ScalarQuantizer.QT_8bit
        return self.module.IndexHNSWSQ(data.dim, codes, data.m)
