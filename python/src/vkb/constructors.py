# SPDX-License-Identifier: Apache-2.0
"""The functions that make clients."""

from __future__ import annotations

import base64
import copy
import os
from typing import Any, Dict, Optional, Union

from .api_embedded import open_ephemeral, open_persistent
from .api_http import HttpAPI, server_url
from .client import AdminAPI, ClientAPI
from .config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, setting
from .server_api import ServerAPI


def _with(settings: Optional[Any], **values: Any) -> Any:
    """A copy of `settings` with these values."""
    result = Settings() if settings is None else copy.copy(settings)
    for name, value in values.items():
        setattr(result, name, value)
    return result


def _api(settings: Any) -> ServerAPI:
    """The store that `settings` describe."""
    implementation = str(getattr(settings, "chroma_api_impl", ""))
    if implementation.endswith("FastAPI"):
        url = server_url(
            str(setting(settings, "chroma_server_host") or "localhost"),
            setting(settings, "chroma_server_http_port") or 8000,
            bool(setting(settings, "chroma_server_ssl_enabled")),
        )
        headers = {**(setting(settings, "chroma_server_headers") or {}), **_credentials(settings)}
        return HttpAPI(url, headers, settings, setting(settings, "chroma_server_ssl_verify"))
    if setting(settings, "is_persistent"):
        return open_persistent(setting(settings, "persist_directory"), settings)
    return open_ephemeral(settings)


def _credentials(settings: Any) -> Dict[str, str]:
    """The headers of Chroma's two ways to authenticate."""
    provider = setting(settings, "chroma_client_auth_provider")
    secret = setting(settings, "chroma_client_auth_credentials")
    if not provider or not secret:
        return {}
    if hasattr(secret, "get_secret_value"):
        secret = secret.get_secret_value()
    if "basic" in provider.lower():
        return {"Authorization": "Basic " + base64.b64encode(str(secret).encode()).decode()}
    header = setting(settings, "chroma_auth_token_transport_header") or "Authorization"
    name = str(getattr(header, "value", header))
    return {name: f"Bearer {secret}" if name.lower() == "authorization" else str(secret)}


def PersistentClient(
    path: Union[str, "os.PathLike[str]"] = "./chroma",
    settings: Optional[Any] = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """A client of the store in the directory `path`, which is made if need be.

    Clients of one directory share the store in a process, and must agree on `allow_reset` and
    `chroma_memory_limit_bytes`. Any number of processes may read it at the same time; one at a time
    writes.

    Raises:
        InvalidArgumentError: the memory limit is below 64 MB.
        InternalError: `path` is a file, or lies where this user cannot write.
        NotFoundError: there is no such tenant or database.
    """
    own = _with(settings, is_persistent=True, persist_directory=str(path))
    return ClientAPI(open_persistent(path, own), str(tenant), str(database))


def EphemeralClient(
    settings: Optional[Any] = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """A client of a store in a temporary directory, which goes with the last of these clients that
    is closed, or with the process; after a process that was killed, the next one that makes an
    EphemeralClient removes it. As in Chroma, all EphemeralClients of a process share the store."""
    own = _with(settings, is_persistent=False)
    return ClientAPI(open_ephemeral(own), str(tenant), str(database))


def HttpClient(
    host: str = "localhost",
    port: int = 8000,
    ssl: bool = False,
    headers: Optional[Dict[str, str]] = None,
    settings: Optional[Any] = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """A client of a server: `vkb serve`, or a Chroma server of version 0.6 or newer.

    Args:
        host: its name, or a whole address, whose scheme, port and path then count.
        port: its port.
        ssl: whether it speaks TLS.
        headers: sent with each request, such as {"X-Chroma-Token": "…"}.
        settings: further ones; see vkb.Settings.
        tenant, database: where its collections are.

    Raises:
        ValueError: nobody answers.
        NotFoundError: there is no such tenant or database.
    """
    host, port = str(host), int(port)
    for name, value in (("host", host), ("http_port", port)):
        given = getattr(settings, f"chroma_server_{name}", None)
        if given and given != value:
            raise ValueError(
                f"Chroma server {name.replace('_', ' ')} provided in settings[{given}] is "
                f"different to the one provided in HttpClient: [{value}]"
            )
    own = _with(
        settings,
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=host,
        chroma_server_http_port=port,
        chroma_server_ssl_enabled=bool(ssl),
        chroma_server_headers=dict(headers or {}),
    )
    return ClientAPI(_api(own), str(tenant), str(database))


def CloudClient(
    tenant: Optional[str] = None,
    database: Optional[str] = None,
    api_key: Optional[str] = None,
    settings: Optional[Any] = None,
    *,
    cloud_host: str = "api.trychroma.com",
    cloud_port: int = 443,
    enable_ssl: bool = True,
) -> ClientAPI:
    """A client of Chroma's cloud. What is not given comes from CHROMA_TENANT, CHROMA_DATABASE and
    CHROMA_API_KEY, and else from the key itself."""
    key = api_key or os.environ.get("CHROMA_API_KEY")
    if not key:
        raise ValueError(
            "Missing required arguments: api_key. Please provide them or set the environment "
            "variables: CHROMA_API_KEY"
        )
    own = _with(
        settings,
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=str(cloud_host),
        chroma_server_http_port=int(cloud_port),
        chroma_server_ssl_enabled=bool(enable_ssl),
        chroma_server_headers={"X-Chroma-Token": str(key)},
    )
    return ClientAPI(
        _api(own),
        tenant or os.environ.get("CHROMA_TENANT"),
        database or os.environ.get("CHROMA_DATABASE"),
    )


def Client(
    settings: Optional[Any] = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """The client that the settings describe; an EphemeralClient without any."""
    return ClientAPI(_api(_with(settings)), str(tenant), str(database))


def AdminClient(settings: Optional[Any] = None) -> AdminAPI:
    """Makes and removes tenants and databases of the store that the settings describe; for the one
    of another client, `AdminClient(client.get_settings())`."""
    return AdminAPI(_api(_with(settings)))
