"""Long ids as people type them: lists show a part that tells each from the others, and commands take that part."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise, takewhile
from typing import Final, TypeVar

from adapters.driving.cli.api import Api, RefusedError, UsageError
from adapters.driving.cli.display import clean

CHARS_MIN: Final = 8
"""Two made-up ids of a thousand rarely share so much, and those listed together never do."""
SEARCHED_MAX: Final = 1_000
"""Newest things among which a part is looked for."""
NOT_FOUND: Final = 404

Item = TypeVar("Item")
Done = TypeVar("Done")


def short_ids(ids: Sequence[str], *, by_end: bool) -> list[str]:
    """The ids as a terminal shows them: the beginning that tells one from the others. Piped, in full.

    `by_end` takes whole words of the end instead: of ids such as ``2026-01-31-cpu-over-request-checkout-1a2b3c4d``.
    """
    if not sys.stdout.isatty():
        return list(ids)
    if not by_end:
        heads = _chars_needed(ids)
        return [one[: heads[one]] for one in ids]
    tails = _chars_needed(one[::-1] for one in ids)
    return [one[one.rfind("-", 0, max(len(one) - tails[one[::-1]], 0)) + 1 :] for one in ids]


def _chars_needed(ids: Iterable[str]) -> dict[str, int]:
    """How many of its first characters tell an id from the others."""
    chars = dict.fromkeys(ids, CHARS_MIN)
    for one, other in pairwise(sorted(chars)):  # who shares most with an id stands beside it
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        chars[one], chars[other] = max(chars[one], shared + 1), max(chars[other], shared + 1)
    return chars


async def with_short_id(
    api: Api,
    typed: str,
    act: Callable[[str], Awaitable[Done]],
    *,
    path: str,
    kind: type[Item],
    id_of: Callable[[Item], str],
) -> Done:
    """What `act` does with the id that was typed or, where there is none like that, with the one of the newest at
    `path` that begins or ends like that. Raises `UsageError` where several do.
    """
    try:
        return await act(typed)
    except RefusedError as error:
        newest, _ = await api.first(path, kind, [], limit=SEARCHED_MAX) if error.status == NOT_FOUND else ([], False)
        found = [one for one in map(id_of, newest) if one.startswith(typed) or one.endswith(typed)]
        if not found or typed in found:
            raise
        if len(found) > 1:
            names = clean(", ".join(found[:3])) + (" …" if len(found) > 3 else "")
            raise UsageError(f"{clean(typed)!r} is part of several ids: {names}") from error
    return await act(found[0])
