"""Descriptions of schemas and their members: the docstrings of the structs and enumerations that they come from.

One text serves both readers, so the document cannot say anything else than the code does.
"""

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, get_args

import msgspec
import msgspec.inspect as inspected
from litestar import Controller
from litestar.handlers import HTTPRouteHandler

Node = dict[str, Any]

OURS: Final = frozenset({"core", "ports", "adapters"})
"""The packages whose sources are read."""
_RAISES: Final = re.compile(r"\s*Raises `[^.]*\.")
"""What only a Python caller sees."""


def described_types(controllers: Sequence[type[Controller]], bodies: Iterable[Any]) -> dict[str, type]:
    """Every struct and enumeration in the replies of the controllers' routes and in `bodies`, by name."""
    annotations = (*_replies(controllers), *bodies)
    return {cls.__name__: cls for each in annotations for cls in _classes(inspected.type_info(each))}


def add_words(schemas: Node, types: Mapping[str, type]) -> None:
    """Writes the descriptions of `types` into their schemas."""
    for name, cls in types.items():
        if name not in schemas:
            continue
        schema, words = schemas[name], _member_words(cls)
        schema["description"] = _plain(inspect.getdoc(cls) or "")
        if issubclass(cls, enum.Enum):
            meanings = [f"`{member.value}`: {words[member.name]}" for member in cls if member.name in words]
            schema["description"] = "\n\n".join([schema["description"], *meanings])
            continue
        assert issubclass(cls, msgspec.Struct)
        for field in msgspec.structs.fields(cls):
            if field.name in words and field.encode_name in schema["properties"]:
                schema["properties"][field.encode_name]["description"] = words[field.name]


def _replies(controllers: Sequence[type[Controller]]) -> Iterator[Any]:
    for controller in controllers:
        for handler in vars(controller).values():
            if isinstance(handler, HTTPRouteHandler):
                annotation = handler.fn.__annotations__["return"]
                yield from get_args(annotation) or (annotation,)


def _classes(place: inspected.Type) -> Iterator[type]:
    """The structs and enumerations that a type is made of."""
    waiting, seen = [place], set()
    while waiting:
        match waiting.pop():
            case inspected.StructType(cls=cls, fields=fields):
                if cls not in seen:
                    seen.add(cls)
                    yield cls
                    waiting += [field.type for field in fields]
            case inspected.EnumType(cls=cls):
                yield cls
            case inspected.UnionType(types=options):
                waiting += options
            case inspected.DictType(value_type=inner) | inspected.CollectionType(item_type=inner):
                waiting.append(inner)
            case inspected.Metadata(type=inner):
                waiting.append(inner)


def _member_words(cls: type) -> dict[str, str]:
    """The docstrings that stand under a class' members, inherited ones too, by name."""
    words: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] not in OURS:
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for member, following in pairwise(definition.body):
            match member, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    words[name] = _plain(text)
    return words


def _plain(docstring: str) -> str:
    text = " ".join(_RAISES.sub("", docstring).split())
    return text.replace("``", "`").replace("None", "null")
