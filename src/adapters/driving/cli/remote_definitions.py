"""What the sending commands ask of a server's metric definitions."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from adapters.driving.cli.client import Answer, ConfigurationError, IngestClient, Patience, TryLater
from adapters.driving.cli.output import CommandError
from core.domain.definitions import MetricDefinition
from core.domain.series import check_name

DEFINITIONS_PATH: Final = "/api/v1/metrics/definitions"


class DefinitionError(CommandError):
    """The server did not take a definition; says why."""


async def declare(client: IngestClient, definitions: Sequence[MetricDefinition]) -> int:
    """Adds those definitions that the server does not have, leaving others as they are; says how many it
    added.

    Raises `DefinitionError` where the key lacks the scope ``admin``, or the server is away.
    """
    added = 0
    for definition in definitions:
        answer = await client.request("POST", DEFINITIONS_PATH, body=msgspec.json.encode(definition))
        if isinstance(answer, Answer) and answer.status == 409:
            continue
        _check(answer, 200, 201)
        added += 1
    return added


async def keep_for(client: IngestClient, patience: Patience, name: str, retention_days: int) -> None:
    """Has the server keep `name` for at least so many days; the rest of its definition stays.

    Raises `ConfigurationError` where the key may not, `DefinitionError` where the server refused, `GaveUpError`, and
    `InvalidInput` for what cannot be a name.
    """
    check_name(name)
    path = f"{DEFINITIONS_PATH}/{quote(name, safe='')}"
    answer = await patience.until_decided(lambda: client.request("GET", path))
    if answer.status == 404:
        definition = MetricDefinition(name=name, retention_days=retention_days)
    else:
        found = _check(answer, 200).document
        known = {field: found[field] for field in MetricDefinition.__struct_fields__ if field in found}
        existing = msgspec.convert(known, MetricDefinition)
        if existing.retention_days >= retention_days:
            return
        definition = msgspec.structs.replace(existing, retention_days=retention_days)
    body = msgspec.json.encode(definition)
    answer = await patience.until_decided(lambda: client.request("PUT", path, body=body))
    _check(answer, 200, 201, 204)


def _check(answer: Answer | TryLater, *expected: int) -> Answer:
    match answer:
        case TryLater(reason=reason):
            raise DefinitionError(reason)
        case Answer(status=401 | 403):
            raise ConfigurationError(f"metric definitions: the API key may not: {answer.reason}")
        case Answer(status=status) if status not in expected:
            raise DefinitionError(answer.reason)
    return answer
