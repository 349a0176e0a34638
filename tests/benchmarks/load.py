"""A load generator that costs next to nothing: one thread, epoll, requests built before the clock starts.

The machine under test is also the one that generates the load, so every microsecond spent here is taken from
the server. Replies are read by Content-Length alone; their bodies are not decoded.
"""

import select
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

RECEIVE_SIZE_BYTES = 65_536
STALL_TIMEOUT_S = 60.0  # no server under test may keep every connection waiting for longer
BROKEN = 0  # the status counted for a connection that broke before its reply


@dataclass
class Load:
    """What was sent and how it was answered."""

    elapsed_s: float = 0.0
    client_cpu_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    bad_reply: str = ""
    """The first reply whose status was not 2xx."""

    @property
    def requests(self) -> int:
        """How many requests were answered, or broke."""
        return self.statuses.total()

    def expect_success(self) -> None:
        """Raise unless every request was answered 2xx."""
        if any(not 200 <= status < 300 for status in self.statuses):
            raise RuntimeError(f"answers {dict(self.statuses)}, the first bad one: {self.bad_reply or 'broken'}")


class _Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.started_s = 0.0
        self._unsent = memoryview(b"")
        self._received = b""

    def begin(self, request: bytes) -> bool:
        """Start a request; return whether all of it is on its way."""
        self.started_s = time.perf_counter()
        self._unsent = memoryview(request)
        self._received = b""
        return self.send()

    def send(self) -> bool:
        """Send as much as the socket takes; return whether that was the rest."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
        return True

    def reply(self) -> bytes | None:
        """Return the whole reply once it is there; raise ConnectionError when the server hung up before."""
        chunk = self.socket.recv(RECEIVE_SIZE_BYTES)
        if not chunk:
            raise ConnectionError("closed by the server")
        self._received += chunk
        sizes = _sizes(self._received)
        return self._received if sizes is not None and len(self._received) >= sum(sizes) else None

    def reusable(self, reply: bytes) -> bool:
        """Return whether another request may follow this reply."""
        return not self._unsent and b"\r\nconnection: close" not in reply[:1000].lower()


class Client:
    """One GET after the other over one connection; `http.client` would take longer than some answers."""

    def __init__(self, port: int, key: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=STALL_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = f"Host: bench\r\nAuthorization: Bearer {key}\r\n\r\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._socket.close()

    def get(self, target: str) -> bytes:
        """Return the body of a 200; raise on every other answer."""
        self._socket.sendall(f"GET {target} HTTP/1.1\r\n{self._headers}".encode())
        received = b""
        while (sizes := _sizes(received)) is None or len(received) < sum(sizes):
            chunk = self._socket.recv(RECEIVE_SIZE_BYTES)
            if not chunk:
                raise ConnectionError("closed by the server")
            received += chunk
        status, body = int(received[9:12]), received[sizes[0] :]
        if status != 200:
            raise RuntimeError(f"GET {target}: {status} {body[:500]!r}")
        return body


def _sizes(received: bytes) -> tuple[int, int] | None:
    """Return the sizes of a reply's head and body, once the head is there."""
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    size_at = head.find(b"content-length:")
    if size_at < 0:
        raise RuntimeError(f"a reply without Content-Length: {head!r}")
    return head_end + 4, int(head[size_at + 15 :].split(b"\r\n", 1)[0])


def run_load(port: int, requests: Iterable[bytes], *, connections: int) -> Load:
    """Send `requests` in order, each on whichever connection is free, and return once all are answered.

    A broken connection counts as status BROKEN and is opened anew; its request is not repeated.
    """
    generator = _Generator(port, iter(requests))
    cpu_s, started_s = time.thread_time(), time.perf_counter()
    generator.run(connections)
    generator.load.elapsed_s = time.perf_counter() - started_s
    generator.load.client_cpu_s = time.thread_time() - cpu_s
    return generator.load


class _Generator:
    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.load = Load()
        self._port = port
        self._requests = requests
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}

    def run(self, connections: int) -> None:
        try:
            for _ in range(connections):
                self._begin(None)
            while self._connections:
                events = self._epoll.poll(STALL_TIMEOUT_S)
                if not events:
                    raise TimeoutError(f"no reply for {STALL_TIMEOUT_S:.0f} s after {self.load.requests} replies")
                for descriptor, event in events:
                    self._advance(self._connections[descriptor], event)
        finally:
            for connection in self._connections.values():
                connection.socket.close()
            self._epoll.close()

    def _advance(self, connection: _Connection, event: int) -> None:
        try:
            if event & select.EPOLLOUT and connection.send():
                self._epoll.modify(connection.socket, select.EPOLLIN)
            reply = connection.reply() if event & ~select.EPOLLOUT else None
        except ConnectionError:
            self.load.statuses[BROKEN] += 1
            self._drop(connection)
            self._begin(None)
            return
        if reply is None:
            return
        self._record(connection, reply)
        if connection.reusable(reply):
            self._begin(connection)
        else:
            self._drop(connection)
            self._begin(None)

    def _record(self, connection: _Connection, reply: bytes) -> None:
        status = int(reply[9:12])
        self.load.statuses[status] += 1
        self.load.latencies_s.append(time.perf_counter() - connection.started_s)
        if not 200 <= status < 300 and not self.load.bad_reply:
            self.load.bad_reply = reply[:1000].decode(errors="replace")

    def _begin(self, connection: _Connection | None) -> None:
        """Start the next request on `connection` (None: on a new one), or retire it when none is left."""
        request = next(self._requests, None)
        if request is None:
            if connection is not None:
                self._drop(connection)
            return
        if connection is None:
            connection = _Connection(self._port)
            self._connections[connection.socket.fileno()] = connection
            self._epoll.register(connection.socket, select.EPOLLIN)
        try:
            if not connection.begin(request):
                self._epoll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        except ConnectionError:
            self.load.statuses[BROKEN] += 1
            self._drop(connection)
            self._begin(None)

    def _drop(self, connection: _Connection) -> None:
        self._epoll.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
