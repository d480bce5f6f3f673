# SPDX-License-Identifier: Apache-2.0
"""Embedded databases: records with fields, and searches filtered by them. Each indexes the fields
that the filters name, in the way its documentation recommends."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from dataset import Dataset

from peers.base import Peer, to_sql, value_type


class Chroma(Peer):
    name = store = "chroma"
    package = "chromadb"
    about = "PersistentClient in the process, cosine"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        import chromadb

        self.module = chromadb
        self.client: Any = None
        self.collection: Any = None

    def connect(self) -> None:
        settings = self.module.Settings(anonymized_telemetry=False)
        self.client = self.module.PersistentClient(str(self.folder), settings=settings)

    def build(self, data: Dataset) -> None:
        self.connect()
        self.collection = self.client.create_collection(
            "compare",
            embedding_function=None,
            configuration={
                "hnsw": {
                    "space": "cosine",
                    "max_neighbors": data.m,
                    "ef_construction": data.ef_construction,
                    "num_threads": self.threads,
                }
            },
        )
        size = self.client.get_max_batch_size()
        for start, block in data.blocks(size):
            end = start + len(block)
            self.collection.add(
                ids=[str(row) for row in range(start, end)],
                embeddings=block,
                metadatas=data.metadata(start, end),
                documents=data.texts(start, end),
            )
        # Vectors reach the graph behind the writes; a search waits for what is left.
        self.collection.query(query_embeddings=data.queries[:1], n_results=1)

    def open(self) -> None:
        self.connect()
        self.collection = self.client.get_collection("compare", embedding_function=None)

    def set_ef(self, ef: int) -> None:
        """The graph in memory keeps the width it was loaded with, so it is loaded again."""
        super().set_ef(ef)
        self.collection.modify(configuration={"hnsw": {"ef_search": ef}})
        self.close()
        self.open()

    def prepare(self, query: np.ndarray) -> Any:
        return query[None]

    def ask(self, query: Any, k: int) -> Any:
        return self.collection.query(query_embeddings=query, n_results=k, include=["distances"])

    def rows_of(self, answer: Any) -> list[int]:
        return [int(each) for each in answer["ids"][0]]

    def ask_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.ask(queries, k)

    def batch_rows(self, answer: Any) -> list[list[int]]:
        return [[int(each) for each in ids] for ids in answer["ids"]]

    def prepare_filter(self, where: dict[str, Any]) -> Any:
        return where

    def ask_filtered(self, query: Any, k: int, where: Any) -> Any:
        return self.collection.query(
            query_embeddings=query, n_results=k, where=where, include=["distances"]
        )

    def ask_containing(self, query: Any, k: int, word: str) -> Any:
        return self.collection.query(
            query_embeddings=query,
            n_results=k,
            where_document={"$contains": word},
            include=["distances"],
        )

    def close(self) -> None:
        self.collection = None
        self.client.close()


class Zvec(Peer):
    name = store = "zvec"
    package = "zvec"
    about = "HNSW over float32, cosine, mapped, inverted indexes on the fields"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        import zvec

        self.module = zvec
        self.collection: Any = None
        zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=threads, optimize_threads=threads)

    def index_parameters(self, data: Dataset) -> Any:
        return self.module.HnswIndexParam(
            metric_type=self.module.MetricType.COSINE,
            m=data.m,
            ef_construction=data.ef_construction,
        )

    def query_parameters(self) -> Any:
        return self.module.HnswQueryParam(ef=self.ef)

    def build(self, data: Dataset) -> None:
        z = self.module
        types = {bool: z.DataType.BOOL, int: z.DataType.INT64, float: z.DataType.DOUBLE}
        fields = [
            z.FieldSchema(
                name,
                types.get(value_type(values) or str, z.DataType.STRING),
                nullable=True,
                index_param=z.InvertIndexParam(enable_range_optimization=True),
            )
            for name, values in data.fields.items()
        ]
        vector = z.VectorSchema(
            "vector", z.DataType.VECTOR_FP32, data.dim, index_param=self.index_parameters(data)
        )
        schema = z.CollectionSchema("compare", fields=fields, vectors=[vector])
        self.collection = z.create_and_open(str(self.folder / "collection"), schema)
        for start, block in data.blocks(1000):
            metadata = data.metadata(start, start + len(block))
            documents = [
                z.Doc(id=str(start + i), vectors={"vector": row}, fields=metadata[i])
                for i, row in enumerate(block)
            ]
            for status in self.collection.insert(documents):
                if not status.ok():
                    raise RuntimeError(f"insert: {status.message()}")
        self.collection.flush()
        self.collection.optimize(z.OptimizeOption(concurrency=self.threads))
        self.collection.flush()

    def open(self) -> None:
        option = self.module.CollectionOption(read_only=True, enable_mmap=True)
        self.collection = self.module.open(str(self.folder / "collection"), option)

    def ask(self, query: Any, k: int) -> Any:
        return self.ask_filtered(query, k, None)

    def rows_of(self, answer: Any) -> list[int]:
        return [int(each.id) for each in answer]

    def prepare_filter(self, where: dict[str, Any]) -> Any:
        return to_sql(where)

    def ask_filtered(self, query: Any, k: int, where: Any) -> Any:
        request = self.module.Query("vector", vector=query, param=self.query_parameters())
        return self.collection.query(request, topk=k, filter=where, output_fields=[])

    def close(self) -> None:
        self.collection = None


class ZvecRabitq(Zvec):
    name = store = "zvec-rabitq"
    about = "HNSW over 7-bit RaBitQ codes, cosine, mapped, inverted indexes on the fields"

    def index_parameters(self, data: Dataset) -> Any:
        return self.module.HnswRabitqIndexParam(
            metric_type=self.module.MetricType.COSINE,
            m=data.m,
            ef_construction=data.ef_construction,
        )

    def query_parameters(self) -> Any:
        return self.module.HnswRabitqQueryParam(ef=self.ef)


def _without_booleans(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: int(value) if isinstance(value, bool) else value for name, value in record.items()
    }


class QdrantEdge(Peer):
    name = store = "qdrant-edge"
    package = "qdrant-edge-py"
    about = "HNSW over float32, cosine, payload indexes on the fields, booleans as 0 and 1"

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        import qdrant_edge

        self.module = qdrant_edge
        self.shard: Any = None
        self.parameters: Any = None

    def build(self, data: Dataset) -> None:
        q = self.module
        vectors = q.EdgeVectorParams(size=data.dim, distance=q.Distance.Cosine)
        graph = q.HnswIndexConfig(
            m=data.m,
            ef_construct=data.ef_construction,
            full_scan_threshold=10_000,
            max_indexing_threads=self.threads,
        )
        optimizers = q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000)
        config = q.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers)
        self.shard = q.EdgeShard.create(str(self.folder), config)
        types = q.PayloadSchemaType
        # MatchValue(True) asks for the number 1, so booleans are stored as numbers.
        kinds = {bool: types.Integer, int: types.Integer, float: types.Float, str: types.Keyword}
        for name, values in data.fields.items():
            kind = kinds[value_type(values) or str]
            self.shard.update(q.UpdateOperation.create_field_index(name, kind))
        for start, block in data.blocks(1000):
            metadata = data.metadata(start, start + len(block))
            points = [
                q.Point(start + i, row.tolist(), _without_booleans(metadata[i]))
                for i, row in enumerate(block)
            ]
            self.shard.update(q.UpdateOperation.upsert_points(points))
        self.shard.optimize()
        self.shard.flush()
        self.shard.close()

    def open(self) -> None:
        self.shard = self.module.EdgeShard.load(str(self.folder))
        self.set_ef(self.ef or 10)

    def set_ef(self, ef: int) -> None:
        super().set_ef(ef)
        self.parameters = self.module.SearchParams(hnsw_ef=ef)

    def prepare(self, query: np.ndarray) -> Any:
        return self.module.Query.Nearest(query.tolist())

    def request(self, query: Any, k: int, where: Any) -> Any:
        return self.module.QueryRequest(
            query=query, limit=k, params=self.parameters, filter=where, with_payload=False
        )

    def ask(self, query: Any, k: int) -> Any:
        return self.shard.query(self.request(query, k, None))

    def rows_of(self, answer: Any) -> list[int]:
        return [each.id for each in answer]

    def ask_batch(self, queries: np.ndarray, k: int) -> Any:
        requests = [self.request(self.prepare(query), k, None) for query in queries]
        return self.shard.query_batch(self.module.QueryBatchRequest(requests))

    def prepare_filter(self, where: dict[str, Any]) -> Any:
        q = self.module
        [(key, condition)] = where.items()
        if key in ("$and", "$or"):
            parts = [self.prepare_filter(each) for each in condition]
            return q.Filter(must=parts) if key == "$and" else q.Filter(should=parts)
        if not isinstance(condition, dict):
            condition = {"$eq": condition}
        [(operator, value)] = condition.items()
        if operator in ("$eq", "$ne"):
            match = q.FieldCondition(key=key, match=q.MatchValue(value))
            return q.Filter(must=[match]) if operator == "$eq" else q.Filter(must_not=[match])
        bound = q.RangeFloat(**{operator[1:]: value})
        return q.Filter(must=[q.FieldCondition(key=key, range=bound)])

    def ask_filtered(self, query: Any, k: int, where: Any) -> Any:
        return self.shard.query(self.request(query, k, where))

    def close(self) -> None:
        self.shard.close()


class LanceDb(Peer):
    name = store = "lancedb"
    package = "lancedb"
    about = "IVF_HNSW_SQ with one partition, cosine, scalar indexes on the fields"
    refine = 0

    def __init__(self, folder: pathlib.Path, threads: int) -> None:
        super().__init__(folder, threads)
        import lancedb

        self.module = lancedb
        self.table: Any = None

    def batches(self, data: Dataset, schema: Any) -> Any:
        import pyarrow

        for start, block in data.blocks(10_000):
            end = start + len(block)
            flat = pyarrow.array(block.reshape(-1))
            columns = [
                pyarrow.array(range(start, end), pyarrow.int64()),
                pyarrow.FixedSizeListArray.from_arrays(flat, data.dim),
                *(pyarrow.array(values[start:end]) for values in data.fields.values()),
            ]
            yield pyarrow.RecordBatch.from_arrays(columns, schema=schema)

    def build(self, data: Dataset) -> None:
        import pyarrow

        columns = [
            ("row", pyarrow.int64()),
            ("vector", pyarrow.list_(pyarrow.float32(), data.dim)),
            *((name, pyarrow.array(values).type) for name, values in data.fields.items()),
        ]
        schema = pyarrow.schema(columns)
        database = self.module.connect(str(self.folder))
        table = database.create_table("compare", self.batches(data, schema), schema=schema)
        table.create_index(
            metric="cosine",
            vector_column_name="vector",
            index_type="IVF_HNSW_SQ",
            num_partitions=1,
            m=data.m,
            ef_construction=data.ef_construction,
        )
        for name, values in data.fields.items():
            kind = "BITMAP" if value_type(values) is bool else "BTREE"
            table.create_scalar_index(name, index_type=kind)

    def open(self) -> None:
        self.table = self.module.connect(str(self.folder)).open_table("compare")

    def ask(self, query: Any, k: int) -> Any:
        return self.ask_filtered(query, k, None)

    def rows_of(self, answer: Any) -> list[int]:
        return answer["row"].to_pylist()

    def prepare_filter(self, where: dict[str, Any]) -> Any:
        return to_sql(where)

    def ask_filtered(self, query: Any, k: int, where: Any) -> Any:
        ef = max(self.ef, k * max(1, self.refine))  # fewer are refused
        search = self.table.search(query, vector_column_name="vector").distance_type("cosine")
        search = search.limit(k).nprobes(1).ef(ef).select(["row", "_distance"])
        if self.refine:
            search = search.refine_factor(self.refine)
        if where is not None:
            search = search.where(where, prefilter=True)
        return search.to_arrow()


class LanceDbRefined(LanceDb):
    name = "lancedb-refined"
    about = "the same index, four times k candidates re-ranked by the stored vectors"
    refine = 4
