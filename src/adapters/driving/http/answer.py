"""A finished HTTP reply, and sending it without a framework."""

from collections.abc import Sequence
from typing import NamedTuple

from litestar.types import Send

from adapters.driving.http import request_id as request_ids

JSON = b"application/json"


class Answer(NamedTuple):
    """Status, media type, body and any further headers, names in lower case."""

    status: int
    media_type: bytes
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()


async def send_answer(send: Send, answer: Answer, request_id: str) -> None:
    """Sends the whole reply."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.media_type),
                (b"content-length", b"%d" % len(answer.body)),
                (request_ids.HEADER, request_id.encode()),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
