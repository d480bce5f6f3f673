# SPDX-License-Identifier: Apache-2.0
"""Load for an HTTP server: prebuilt requests over many keep-alive connections, from several
processes, so that the client is not what is measured."""

from __future__ import annotations

import json
import multiprocessing
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


def request(method: str, path: str, body: object = None) -> bytes:
    """The bytes of a request; `body` becomes JSON."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@dataclass
class Connection:
    """One keep-alive connection; take() reads what has arrived and gives an answer or None."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)

    @classmethod
    def open(cls, port: int) -> Connection:
        opened = socket.create_connection(("127.0.0.1", port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(opened)

    def take(self) -> tuple[int, bytes] | None:
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.received += chunk
        return self._answer()

    def _answer(self) -> tuple[int, bytes] | None:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.received[:end]).lower()
        start = head.index(b"content-length:") + len(b"content-length:")
        length = int(head[start:].split(b"\r\n", 1)[0])
        total = end + 4 + length
        if len(self.received) < total:
            return None
        body = bytes(self.received[end + 4 : total])
        del self.received[:total]
        return int(head[9:12]), body

    def ask(self, data: bytes) -> tuple[int, bytes]:
        """One request, waiting for its answer."""
        self.socket.sendall(data)
        while True:
            answer = self.take()
            if answer:
                return answer


def drive(port: int, requests: Sequence[bytes], connections: int) -> tuple[int, int]:
    """Sends the requests, each connection one at a time; returns how many were answered with 2xx
    and how many were not."""
    selector = selectors.DefaultSelector()
    waiting = iter(requests)
    good = bad = 0

    def send_next(connection: Connection) -> bool:
        data = next(waiting, None)
        if data is None:
            return False
        connection.socket.setblocking(True)
        connection.socket.sendall(data)
        connection.socket.setblocking(False)
        return True

    for _ in range(connections):
        connection = Connection.open(port)
        if send_next(connection):
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        else:
            connection.socket.close()
    while selector.get_map():
        for key, _ in selector.select():
            answer = key.data.take()
            if answer is None:
                continue
            good += 200 <= answer[0] < 300
            bad += not 200 <= answer[0] < 300
            if not send_next(key.data):
                selector.unregister(key.data.socket)
                key.data.socket.close()
    return good, bad


def _worker(port, requests, connections, barrier, results) -> None:
    barrier.wait()
    results.put(drive(port, requests, connections))


def rate(port: int, requests: Sequence[Sequence[bytes]], connections: int = 1) -> dict[str, float]:
    """Requests a second of one process for each sequence of requests, all at the same time."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(requests) + 1)
    results = context.Queue()
    processes = [
        context.Process(target=_worker, args=(port, each, connections, barrier, results))
        for each in requests
    ]
    for process in processes:
        process.start()
    barrier.wait()
    start = time.perf_counter()
    answers = [results.get() for _ in processes]
    seconds = time.perf_counter() - start
    for process in processes:
        process.join()
    good, bad = (sum(column) for column in zip(*answers))
    return {"requests": good + bad, "failed": bad, "per_second": good / seconds}
