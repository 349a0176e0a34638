"""The outbound client against real servers on loopback, which an allow-list lets through."""

import asyncio
import socket
import ssl
from ipaddress import ip_network
from typing import Final

import pytest
import trustme
from aiohttp import web

from adapters.runtime.outbound import OutboundClient, OutboundFailed, OutboundRefused
from tests.support.hostile_urls import NAME, Canary, answering
from tests.support.receiver import Behaviour, Receiver, answer, drip, drip_headers, garbage, giant, hang, reset

LOOPBACK: Final = (ip_network("127.0.0.0/8"),)
SHORT_S: Final = 0.3
"""A time-out that a test can wait for, where nothing is to arrive before it."""
AMPLE_S: Final = 5.0
"""One within which a loaded machine's loopback does answer."""
IN_TIME_S: Final = 10.0
"""Far beyond the time-outs, far below any other wait."""


class TestRequests:
    """What is sent, and what comes back."""

    async def test_a_request_arrives_as_it_was_given(self, receiver: Receiver) -> None:
        """Method, path, query, headers and body; nothing is added that asks for compression or carries cookies."""
        client = OutboundClient(LOOPBACK)
        receiver.behave = answer(201, "made", {"X-Answer": "yes", "Set-Cookie": "session=1"})
        for _ in range(2):
            reply = await client.request(
                "PUT", receiver.url("/a%2Fb/../c?x=%26&y"), headers={"X-Key": "välue"}, body=b"\x00\xff"
            )
        assert (reply.status, reply.body, reply.headers["x-answer"], reply.complete) == (201, b"made", "yes", True)
        for request in receiver.requests:
            assert (request.method, request.path, request.body) == ("PUT", "/a%2Fb/../c?x=%26&y", b"\x00\xff")
            assert request.headers["accept-encoding"] == "identity"
            assert request.headers["x-key"] == "välue"
            assert "cookie" not in request.headers

    async def test_a_redirect_is_an_answer(self, receiver: Receiver) -> None:
        """Nothing connects to where it points."""
        async with Canary().listening() as canary:
            for status in (301, 302, 303, 307, 308):
                receiver.behave = answer(status, "", {"Location": f"http://127.0.0.1:{canary.port}/"})
                reply = await OutboundClient(LOOPBACK).request("POST", receiver.url(), body=b"{}")
                assert reply.status == status
            assert canary.connections == 0

    async def test_a_body_is_read_to_the_limit_only(self, receiver: Receiver) -> None:
        """64 MiB arrive as 1000 bytes."""
        receiver.behave = giant(200)
        reply = await OutboundClient(LOOPBACK, response_bytes_max=1_000).request("GET", receiver.url())
        assert (reply.status, len(reply.body), reply.complete) == (200, 1_000, False)

    async def test_a_compressed_body_stays_compressed(self, receiver: Receiver) -> None:
        """A bomb does not unfold here."""
        receiver.behave = answer(200, b"\x1f\x8bnot gzip at all", {"Content-Encoding": "gzip"})
        reply = await OutboundClient(LOOPBACK).request("GET", receiver.url())
        assert reply.body == b"\x1f\x8bnot gzip at all"

    async def test_a_status_counts_though_its_body_never_ends(self, receiver: Receiver) -> None:
        """The receiver has answered; the rest is cut off when the time is up."""
        receiver.behave = drip(200)
        reply = await OutboundClient(LOOPBACK, timeout_s=AMPLE_S).request("GET", receiver.url())
        assert (reply.status, reply.complete) == (200, False)

    @pytest.mark.parametrize("behave", [hang, reset, garbage, drip_headers])
    async def test_no_answer_is_a_failure_in_time(self, receiver: Receiver, behave: Behaviour) -> None:
        """Silence, a reset, what is no HTTP, headers without end; the reason holds nothing of the URL's path."""
        receiver.behave = behave
        started_s = asyncio.get_running_loop().time()
        with pytest.raises(OutboundFailed) as failed:
            await OutboundClient(LOOPBACK, timeout_s=SHORT_S).request("GET", receiver.url("/s3cret"))
        assert asyncio.get_running_loop().time() - started_s < IN_TIME_S
        assert "s3cret" not in failed.value.reason
        assert failed.value.__cause__ is failed.value.__context__ is None

    async def test_nobody_listens(self) -> None:
        """A refused connection is a failure that says so."""
        client = OutboundClient(LOOPBACK, resolve=answering("127.0.0.1"))
        with socket.socket() as unused:  # bound, so that nobody else has the port, and not listening
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            with pytest.raises(OutboundFailed, match="could not be connected to: Connection refused") as failed:
                await client.request("GET", f"http://{NAME}:{port}/")
        assert "127.0.0.1" not in failed.value.reason

    async def test_headers_come_back_as_text(self, receiver: Receiver) -> None:
        """Names in lower case, the first of several, and always what can be written again."""

        async def behave(request: web.Request) -> web.StreamResponse:
            assert isinstance(request.transport, asyncio.WriteTransport)
            headers = b"X-A: first\r\nx-a: second\r\nX-B: \xff\r\nContent-Length: 0\r\n"
            request.transport.write(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n")
            request.transport.close()
            return web.Response()

        receiver.behave = behave
        reply = await OutboundClient(LOOPBACK).request("GET", receiver.url())
        assert (reply.headers["x-a"], reply.headers["x-b"]) == ("first", "\ufffd")

    async def test_ipv6_is_reached_too(self) -> None:
        """An address in brackets, checked and connected to as itself."""
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6 loopback; `ip -6 addr add ::1/128 dev lo` makes one")
        client = OutboundClient((ip_network("::1/128"),))
        async with Receiver().listening(host="::1") as listening:
            assert (await client.request("GET", f"http://[0:0::1]:{listening.port}/x")).status == 200
        assert listening.requests[0].headers["host"] == f"[::1]:{listening.port}"

    async def test_one_that_hangs_holds_up_no_other(self, receiver: Receiver) -> None:
        """150 requests to a silent receiver are under way, and another's is answered at once."""
        client = OutboundClient(LOOPBACK, timeout_s=30)
        receiver.behave = hang
        async with Receiver().listening() as quick:
            waiting = [asyncio.create_task(client.request("GET", receiver.url())) for _ in range(150)]
            reply = await client.request("GET", quick.url(), timeout_s=5)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert reply.status == 200

    async def test_the_environments_proxy_is_not_used(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy would resolve the name itself."""
        async with Canary().listening() as canary:
            for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
            assert (await OutboundClient(LOOPBACK).request("GET", receiver.url())).status == 200
            assert canary.connections == 0

    @pytest.mark.parametrize(
        "headers",
        [
            {"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X": "a\x00"}, {"X\r\nY": "a"}, {"X y": "a"}, {"": "a"}, {"Host": "x"},
            {"content-LENGTH": "0"}, {"Transfer-Encoding": "chunked"}, {"Connection": "upgrade"}, {"X": "\ud800"},
        ],
    )  # fmt: skip
    async def test_a_header_cannot_begin_another(self, receiver: Receiver, headers: dict[str, str]) -> None:
        """Nor say for whom or how long the request is."""
        with pytest.raises(OutboundRefused, match="header"):
            await OutboundClient(LOOPBACK).request("GET", receiver.url(), headers=headers)
        assert receiver.requests == []

    @pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\nX: y", ""])
    async def test_a_method_is_one_of_a_few(self, receiver: Receiver, method: str) -> None:
        """None can tunnel, or write into the request."""
        with pytest.raises(OutboundRefused, match="method"):
            await OutboundClient(LOOPBACK).request(method, receiver.url())
        assert receiver.requests == []


class TestTLS:
    """Encryption to a checked address, under the name that was asked for."""

    @pytest.fixture
    def authority(self) -> trustme.CA:
        """Return a certificate authority of the test's own."""
        return trustme.CA()

    @staticmethod
    def contexts(authority: trustme.CA, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """A server's with a certificate for `names`, and a client's that trusts `authority`."""
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names).configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        return server, client

    async def test_the_name_is_verified_and_announced(self, authority: trustme.CA) -> None:
        """Connected to by address, SNI and certificate are the name's, and so is the Host header."""
        server, tls = self.contexts(authority, NAME)
        announced: list[str | None] = []
        server.sni_callback = lambda _socket, name, _context: announced.append(name)
        async with Receiver().listening(tls=server) as receiver:
            client = OutboundClient(LOOPBACK, resolve=answering("127.0.0.1"), tls=tls)
            reply = await client.request("POST", f"https://{NAME}:{receiver.port}/", body=b"{}")
            assert reply.status == 200
            assert receiver.requests[0].headers["host"] == f"{NAME}:{receiver.port}"
        assert announced == [NAME]

    async def test_an_addresses_certificate_is_verified_too(self, authority: trustme.CA) -> None:
        """A URL that names an address needs a certificate for it."""
        server, tls = self.contexts(authority, "127.0.0.1")
        async with Receiver().listening(tls=server) as receiver:
            reply = await OutboundClient(LOOPBACK, tls=tls).request("GET", f"https://127.0.0.1:{receiver.port}/")
            assert reply.status == 200

    async def test_anothers_certificate_is_a_failure(self, authority: trustme.CA) -> None:
        """The address is right, the name is not: nothing is sent."""
        server, tls = self.contexts(authority, "other.example.test")
        async with Receiver().listening(tls=server) as receiver:
            client = OutboundClient(LOOPBACK, resolve=answering("127.0.0.1"), tls=tls)
            with pytest.raises(OutboundFailed, match=r"certificate of hooks\.example\.test is not valid"):
                await client.request("POST", f"https://{NAME}:{receiver.port}/", body=b"{}")
            assert receiver.requests == []

    async def test_an_unknown_authority_is_a_failure(self, authority: trustme.CA) -> None:
        """By default the system's authorities are trusted, and no other."""
        server, _ = self.contexts(authority, NAME)
        async with Receiver().listening(tls=server) as receiver:
            client = OutboundClient(LOOPBACK, resolve=answering("127.0.0.1"))
            with pytest.raises(OutboundFailed, match="is not valid"):
                await client.request("GET", f"https://{NAME}:{receiver.port}/")

    async def test_a_handshake_that_never_comes_is_a_failure_in_time(self) -> None:
        """The connection is accepted, and then nothing."""
        held: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(OutboundFailed, match="in time"):
                await OutboundClient(LOOPBACK, timeout_s=SHORT_S).request("GET", f"https://127.0.0.1:{port}/")
            for writer in held:
                writer.close()

    async def test_a_plain_server_is_no_tls_server(self, receiver: Receiver) -> None:
        """https is never quietly http."""
        with pytest.raises(OutboundFailed, match="TLS"):
            await OutboundClient(LOOPBACK).request("GET", f"https://127.0.0.1:{receiver.port}/")
