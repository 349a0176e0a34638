"""What differs between two JSON documents: a patch (RFC 6902) that makes the second of the first.

Values are compared as JSON means them: 1 and 1.0 are one number, 1 and true are not, and an object's members have no
order. Lists are compared by index. The patch is in a fixed order and may be applied as it stands: members by name,
items by index, but items that are gone from the last one on.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from core.domain.configurations import Difference, Document

DIFFERENCES_MAX: Final = 1_000
"""Nobody reads more; the whole document is then one difference."""
PATHS_CHARS_MAX: Final = 256 << 10
"""Of all pointers together, likewise: a long name stands in the pointer of each of its members."""


def differences(before: Document | None, after: Document | None) -> tuple[Difference, ...]:
    """Where `after` differs from `before`; None is no document at all, which differs from an empty one."""
    if before is None or after is None:
        return () if before is after else (_whole(before, after),)
    found = tuple(islice(_of(before, after, ""), DIFFERENCES_MAX + 1))
    if len(found) > DIFFERENCES_MAX or sum(len(each.path) for each in found) > PATHS_CHARS_MAX:
        return (_whole(before, after),)
    return found


def _whole(before: Document | None, after: Document | None) -> Difference:
    op = "add" if before is None else "remove" if after is None else "replace"
    return Difference(path="", op=op, before=before, after=after)


def _of(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_members(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_items(before, after, path)
    elif not _is_same(before, after):
        yield Difference(path=path, op="replace", before=before, after=after)


def _of_members(before: Document, after: Document, path: str) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        member = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in after:
            yield Difference(path=member, op="remove", before=before[name])
        elif name not in before:
            yield Difference(path=member, op="add", after=after[name])
        else:
            yield from _of(before[name], after[name], member)


def _of_items(before: list[Any], after: list[Any], path: str) -> Iterator[Difference]:
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        yield from _of(old, new, f"{path}/{index}")
    for index in range(len(before), len(after)):
        yield Difference(path=f"{path}/{index}", op="add", after=after[index])
    for index in reversed(range(len(after), len(before))):
        yield Difference(path=f"{path}/{index}", op="remove", before=before[index])


def _is_same(before: Any, after: Any) -> bool:
    """Whether two values, not both objects and not both lists, are one: Python alone takes true for 1."""
    return isinstance(before, bool) is isinstance(after, bool) and bool(before == after)
