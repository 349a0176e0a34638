"""What may stand at a place of a JSON document that is decoded as a type: an enumeration's words, a union's tags."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec.inspect as inspected

_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")
"""A member's name, or the place in a list or object, as msgspec writes paths: ``steps[0].headers[...]``."""


def choices_at(root: Any, path: str) -> tuple[str, ...]:
    """The texts that fit at `path` (``steps[0].risk``; empty: the document itself) of a document decoded as `root`.

    Empty where the place takes no closed set of texts, or does not exist.
    """
    places = list(_options(inspected.type_info(root)))
    choices: tuple[str, ...] = ()
    for step in _STEP.findall(path):
        choices = tuple(
            str(place.tag) for place in places if isinstance(place, inspected.StructType) and place.tag_field == step
        )
        places = [option for place in places for inner in _inside(place, step) for option in _options(inner)]
    words = [str(member.value) for place in places if isinstance(place, inspected.EnumType) for member in place.cls]
    return choices or tuple(words)


def _options(place: inspected.Type) -> Iterator[inspected.Type]:
    """What a place may hold, unions taken apart."""
    if isinstance(place, inspected.UnionType):
        for option in place.types:
            yield from _options(option)
    elif isinstance(place, inspected.Metadata):
        yield from _options(place.type)
    else:
        yield place


def _inside(place: inspected.Type, step: str) -> Iterator[inspected.Type]:
    """What may stand one step further in."""
    match place:
        case inspected.StructType(fields=fields):
            yield from (field.type for field in fields if field.encode_name == step)
        case inspected.DictType(value_type=inner) if step.startswith("["):
            yield inner
        case inspected.CollectionType(item_type=inner) if step.startswith("["):
            yield inner
        case inspected.TupleType(item_types=inners) if step.startswith("["):
            yield from inners
        case _:
            return
