"""Idempotency-Key: the same key and body is stored once and answered alike, whoever asks and when."""

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.e2e.program import KEY, Program

SENDERS = 16


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}_{secrets.token_hex(6)}"


def stored(client: httpx.Client, name: str) -> list[float]:
    """The values of a metric's samples. A sample sent without a time gets the present, so each repeat would show."""
    reply = client.get("/api/v1/metrics", params={"name": name})
    assert reply.status_code == 200, reply.text
    return [row["value"] for row in reply.json()["data"]]


def at_once(server: Program, bodies: Sequence[dict[str, Any]], key: str) -> list[httpx.Response]:
    """The replies to requests that are sent together, each on a connection of its own."""

    def send(body: dict[str, Any]) -> httpx.Response:
        with httpx.Client(base_url=server.url, headers={"x-api-key": KEY}, timeout=30) as client:
            return client.post("/ingest", json=body, headers={"idempotency-key": key})

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, bodies))


def test_repeats_at_once_are_stored_once(server: Program, client: httpx.Client) -> None:
    """16 senders of the same request on two workers: one sample, and the same reply for all."""
    name = unique("at_once")
    replies = at_once(server, [{"name": name, "value": 1.0}] * SENDERS, unique("key"))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.text for reply in replies}) == 1
    assert stored(client, name) == [1.0]


def test_of_different_bodies_at_once_one_wins(server: Program, client: httpx.Client) -> None:
    """16 senders of different bodies under one key: one is stored, the others are told of the conflict."""
    name = unique("different")
    replies = at_once(server, [{"name": name, "value": float(n)} for n in range(SENDERS)], unique("key"))
    won = [n for n, reply in enumerate(replies) if reply.status_code == 200]
    assert len(won) == 1, [reply.text for reply in replies]
    for reply in replies:
        if reply.status_code != 200:
            assert reply.status_code == 409
            assert "Idempotency-Key" in reply.json()["detail"]
    assert stored(client, name) == [float(won[0])]


def test_a_repeat_in_another_encoding_is_the_same_body(client: httpx.Client) -> None:
    """A retry that is compressed this time is the same request; one that adds a space is another."""
    import gzip

    name, headers = unique("encoding"), {"idempotency-key": unique("key"), "content-type": "application/json"}
    body = f'{{"name":"{name}","value":1}}'.encode()
    first = client.post("/ingest", content=body, headers=headers)
    packed = client.post("/ingest", content=gzip.compress(body), headers={**headers, "content-encoding": "gzip"})
    assert (first.status_code, first.text) == (packed.status_code, packed.text)
    assert client.post("/ingest", content=body + b" ", headers=headers).status_code == 409
    assert stored(client, name) == [1.0]


def test_a_partly_refused_request_is_answered_alike(client: httpx.Client) -> None:
    """The repeat of a batch gets the first reply, refusals and all."""
    name, headers = unique("partly"), {"idempotency-key": unique("key")}
    body = {"metrics": [{"name": name, "value": 1.0}, {"name": "", "value": 2.0}, {"name": name}]}
    replies = [client.post("/ingest/batch", json=body, headers=headers) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert len({reply.text for reply in replies}) == 1
    assert (replies[0].json()["accepted"], replies[0].json()["rejected"]) == (1, 2)
    assert stored(client, name) == [1.0]


def test_a_refused_request_does_not_use_its_key_up(client: httpx.Client) -> None:
    """Nothing was stored under the key, so the mended request may use it: refused whole, and refused as atomic."""
    name, headers = unique("mended"), {"idempotency-key": unique("key")}
    assert client.post("/ingest", json={"name": name, "value": None}, headers=headers).status_code == 422
    mixed = {"metrics": [{"name": name, "value": 1.0}, {"name": name, "value": "x"}]}
    assert client.post("/ingest/batch?atomic=true", json=mixed, headers=headers).status_code == 422
    assert stored(client, name) == []
    mended = {"metrics": mixed["metrics"][:1]}
    assert client.post("/ingest/batch?atomic=true", json=mended, headers=headers).status_code == 200
    assert client.post("/ingest/batch?atomic=true", json=mended, headers=headers).status_code == 200
    assert stored(client, name) == [1.0]


def test_atomic_stores_all_or_nothing(client: httpx.Client) -> None:
    """With atomic=true one bad metric among 1,000 refuses all; without it 999 are stored."""
    name = unique("atomic")
    metrics: list[dict[str, Any]] = [{"name": name, "value": 1.0, "labels": {"n": str(n)}} for n in range(999)]
    body = {"metrics": [*metrics, {"name": name, "value": "x"}]}
    refused = client.post("/ingest/batch?atomic=true", json=body)
    assert refused.status_code == 422
    assert (refused.json()["accepted"], refused.json()["rejected"]) == (0, 1)
    assert stored(client, name) == []
    assert client.post("/ingest/batch", json=body).json()["accepted"] == 999
    assert len(stored(client, name)) == 999
