# SPDX-License-Identifier: Apache-2.0
"""Settings of a client, and the names of the default tenant and database."""

from __future__ import annotations

import os
from enum import Enum
from typing import Any, Dict, Optional

DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"

_DEFAULTS: Dict[str, Any] = {
    "allow_reset": False,
    "is_persistent": False,
    "persist_directory": "./chroma",
    "anonymized_telemetry": False,
    "chroma_memory_limit_bytes": 0,
    "chroma_server_host": None,
    "chroma_server_http_port": None,
    "chroma_server_ssl_enabled": False,
    "chroma_server_ssl_verify": None,
    "chroma_server_headers": None,
    "chroma_client_auth_provider": None,
    "chroma_client_auth_credentials": None,
    "chroma_auth_token_transport_header": None,
}


class TokenTransportHeader(str, Enum):
    """Values of the setting `chroma_auth_token_transport_header`."""

    AUTHORIZATION = "Authorization"
    X_CHROMA_TOKEN = "X-Chroma-Token"


class Settings:
    """What a client is opened with; Chroma's names.

    These count: `allow_reset`, `is_persistent`, `persist_directory` and `chroma_memory_limit_bytes`
    (of caches, and of graphs while they are built; 64 MB or more, 0 for none) for clients in the
    process; `chroma_server_host`, `chroma_server_http_port`, `chroma_server_ssl_enabled`,
    `chroma_server_ssl_verify` (False, or a file of certificates to trust), `chroma_server_headers`,
    `chroma_client_auth_provider` with `chroma_client_auth_credentials` and
    `chroma_auth_token_transport_header` for clients of a server. Other names are kept and have no
    effect, so that settings written for Chroma are accepted as they are. What is not given comes
    from the environment variable of that name in capitals, as in Chroma.
    """

    def __init__(self, **values: Any) -> None:
        for name, default in _DEFAULTS.items():
            setattr(self, name, _from_environment(name, default))
        for name, value in values.items():
            setattr(self, name, value)

    def require(self, key: str) -> Any:
        """The value of `key`; ValueError when it is not set."""
        value = getattr(self, key, None)
        if value is None:
            raise ValueError(f"Missing required config value '{key}'")
        return value

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        secret = ("chroma_client_auth_credentials", "chroma_server_headers")
        shown = (f"{k}={'***' if k in secret and v else repr(v)}" for k, v in vars(self).items())
        return f"Settings({', '.join(shown)})"


def setting(settings: Optional[Any], name: str) -> Any:
    """`name` of a Settings, ours or chromadb's; the default where there are none."""
    if settings is None:
        return _from_environment(name, _DEFAULTS[name])
    return getattr(settings, name, _DEFAULTS[name])


def _from_environment(name: str, default: Any) -> Any:
    text = os.environ.get(name.upper())
    if text is None or isinstance(default, dict) or name == "chroma_server_headers":
        return default
    if isinstance(default, bool):
        return text.strip().lower() in ("1", "true", "yes", "on", "t", "y")
    if not isinstance(default, int) and name != "chroma_server_http_port":
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name.upper()}: expected an integer, found {text!r}") from None
