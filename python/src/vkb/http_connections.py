# SPDX-License-Identifier: Apache-2.0
"""Keep-alive connections to one server, shared by threads; the standard library only."""

from __future__ import annotations

import http.client
import json
import os
import select
import ssl
import threading
import time
import urllib.parse
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from . import errors
from .scalars import to_json

# An idle connection that the server is about to close is worse than a new one.
_IDLE_SECONDS = 40.0


class Connections:
    """Sends JSON requests and reads JSON answers.

    Thread safety: all methods; as many connections are open as requests run at once, and each
    request waits for its own answer only.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        verify: Union[bool, str, None] = None,
        timeout: Optional[float] = None,
    ) -> None:
        """`verify`: False accepts any certificate; a path names certificates to trust."""
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"expected the address of a server, like http://host:8000, got {base_url}"
            )
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._path = parts.path.rstrip("/")
        self._headers = dict(headers)
        self._timeout = timeout
        self._tls = _tls(verify) if parts.scheme == "https" else None
        self._lock = threading.Lock()
        self._idle: List[Tuple[float, http.client.HTTPConnection]] = []
        self._pid = os.getpid()

    def request(
        self,
        method: str,
        path: str,
        body: Optional[Any] = None,
        parameters: Optional[Mapping[str, Any]] = None,
    ) -> Any:
        """The JSON of the answer.

        Raises: what the server refuses, as vkb.errors name it; ConnectionError and other OSErrors
        when there is no answer; before anything is sent, InvalidArgumentError for NaN and infinity
        in the body, and UnicodeEncodeError for lone surrogates.
        """
        target = self._path + path
        given = {k: v for k, v in (parameters or {}).items() if v is not None}
        if given:
            target += "?" + urllib.parse.urlencode(given)
        text = None if body is None else _json(body)
        connection = self._take()
        try:
            connection.request(method, target, text, self._headers)
            response = connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as error:
            connection.close()
            raise ConnectionError(
                f"no answer from {self._host}:{self._port} to {method} {target}: {error!r}"
            ) from error
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._put(connection)
        return _read(response.status, response.getheader("chroma-trace-id"), answer)

    def close(self) -> None:
        """Closes the idle connections. Requests open new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection:
        if os.getpid() != self._pid:  # a forked child must not write into its parent's sockets
            self._lock, self._idle, self._pid = threading.Lock(), [], os.getpid()
        while True:
            with self._lock:
                if not self._idle:
                    break
                since, connection = self._idle.pop()
            if time.monotonic() - since < _IDLE_SECONDS and not _is_readable(connection):
                return connection
            connection.close()
        if self._tls is not None:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._tls
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _put(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append((time.monotonic(), connection))


def why_no_answer(url: str, error: OSError) -> str:
    """For the message of a client that could not be made: where, what, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = (
            f"TLS: the server's certificate is not trusted: {error.verify_message}; name a file of "
            "certificates to trust in Settings(chroma_server_ssl_verify=…)"
        )
    elif isinstance(error, ssl.SSLError):
        what = f"TLS: {error}; a server that does not speak TLS needs ssl=False"
    else:
        what = str(error)
        ended = (ConnectionResetError, http.client.BadStatusLine)
        if url.startswith("http:") and isinstance(error.__cause__ or error, ended):
            what += "; does the server speak TLS (ssl=True)?"
    return f"{url}: {what}"


def _json(body: Any) -> bytes:
    try:
        return to_json(body, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise
    except ValueError as error:
        raise errors.raisable(errors.InvalidArgumentError)(
            f"the request cannot be written as JSON, which has no NaN and no infinity: {error}"
        ) from error


def _is_readable(connection: http.client.HTTPConnection) -> bool:
    """On an idle connection: the server has closed it, or said what nobody asked for."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _tls(verify: Union[bool, str, None]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _read(status: int, trace_id: Optional[str], answer: bytes) -> Any:
    if 200 <= status < 300:
        return json.loads(answer) if answer else None
    text = answer.decode("utf-8", "replace")
    found: Dict[str, Any] = {}
    try:
        parsed = json.loads(text)
        found = parsed if isinstance(parsed, dict) else {}
    except ValueError:
        pass
    message = found.get("message")
    error = errors.from_answer(
        status,
        str(found.get("error", "")),
        message if isinstance(message, str) else text or f"HTTP status {status}",
    )
    error.trace_id = trace_id
    raise error
