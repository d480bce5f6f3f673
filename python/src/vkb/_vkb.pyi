# SPDX-License-Identifier: Apache-2.0
"""The compiled part. Not an interface for users: see vkb.Client and vkb.Collection."""

from typing import Any, Dict, List, Optional, Tuple

version: str

class Service:
    def __init__(
        self, path: bytes, allow_reset: bool, read_only: bool, memory_limit: int
    ) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    def create_tenant(self, name: str) -> None: ...
    def check_tenant(self, name: str) -> None: ...
    def create_database(self, tenant: str, name: str) -> None: ...
    def get_database(self, tenant: str, name: str) -> Tuple[str, str, str]: ...
    def delete_database(self, tenant: str, name: str) -> None: ...
    def list_databases(
        self, tenant: str, limit: Optional[int], offset: Optional[int]
    ) -> List[Tuple[str, str, str]]: ...
    def create_collection(
        self,
        tenant: str,
        database: str,
        name: str,
        metadata: Optional[Dict[str, Any]],
        configuration: Optional[str],
        schema: Optional[str],
        get_or_create: bool,
    ) -> Dict[str, Any]: ...
    def get_collection(self, tenant: str, database: str, name: str) -> Dict[str, Any]: ...
    def get_collection_by_id(self, tenant: str, database: str, id: str) -> Dict[str, Any]: ...
    def list_collections(
        self, tenant: str, database: str, limit: Optional[int], offset: Optional[int]
    ) -> List[Dict[str, Any]]: ...
    def count_collections(self, tenant: str, database: str) -> int: ...
    def modify_collection(
        self,
        tenant: str,
        database: str,
        id: str,
        name: Optional[str],
        metadata: Optional[Dict[str, Any]],
        configuration: Optional[str],
    ) -> None: ...
    def delete_collection(self, tenant: str, database: str, name: str) -> None: ...
    def fork_collection(
        self, tenant: str, database: str, id: str, new_name: str
    ) -> Dict[str, Any]: ...
    def indexing_status(self, tenant: str, database: str, id: str) -> Tuple[int, int]: ...
    def add(self, tenant: str, database: str, id: str, *columns: Any) -> None: ...
    def update(self, tenant: str, database: str, id: str, *columns: Any) -> None: ...
    def upsert(self, tenant: str, database: str, id: str, *columns: Any) -> None: ...
    def remove(
        self,
        tenant: str,
        database: str,
        id: str,
        ids: Optional[List[str]],
        where: Optional[str],
        where_document: Optional[str],
        limit: Optional[int],
    ) -> int: ...
    def count(self, tenant: str, database: str, id: str) -> int: ...
    def get(
        self,
        tenant: str,
        database: str,
        id: str,
        ids: Optional[List[str]],
        where: Optional[str],
        where_document: Optional[str],
        limit: Optional[int],
        offset: Optional[int],
        include: List[str],
    ) -> Dict[str, Any]: ...
    def query(
        self,
        tenant: str,
        database: str,
        id: str,
        ids: Optional[List[str]],
        where: Optional[str],
        where_document: Optional[str],
        embeddings: Any,
        n_results: int,
        include: List[str],
    ) -> Dict[str, Any]: ...
    def search(self, tenant: str, database: str, id: str, request: str) -> str: ...
