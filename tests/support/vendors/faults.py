"""How a vendor misbehaves on the wire, for `Receiver.script`, beside what `tests.support.receiver` has."""

from typing import Final

from aiohttp import web

from tests.support.receiver import Behaviour, answer, giant

GIGABYTE: Final = giant(200, chunks=16_384)
"""A thousand and twenty-four MiB of one letter."""


def half(body: bytes) -> Behaviour:
    """Announces `body`, sends half of it, and drops the connection."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.abort()
        return response

    return behave


def redirect(location: str) -> Behaviour:
    """Points elsewhere."""
    return answer(302, headers={"Location": location})
