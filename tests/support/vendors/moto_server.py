"""AWS as moto plays it, over HTTP: EC2 and CloudWatch with an empty account."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.request import Request, urlopen

from aiobotocore.session import AioSession
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
CREDENTIALS = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
AMI = "ami-12c6146b"
"""One that moto knows."""


@contextmanager
def run_moto() -> Iterator[str]:
    """The address of a moto server in a thread of this process, whose state is empty and is emptied at the end."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        reset_moto(url)
        yield url
        reset_moto(url)
    finally:
        server.stop()


def reset_moto(url: str) -> None:
    """Empties the account; moto keeps one for all servers of a process."""
    with urlopen(Request(f"{url}/moto-api/reset", method="POST"), timeout=10) as answer:
        assert answer.status == 200


@asynccontextmanager
async def moto_client(url: str, service: str) -> AsyncIterator[Any]:
    """A client that arranges what a test needs, as somebody else would."""
    async with AioSession().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=CREDENTIALS["access_key_id"],
        aws_secret_access_key=CREDENTIALS["secret_access_key"],
    ) as client:
        yield client
