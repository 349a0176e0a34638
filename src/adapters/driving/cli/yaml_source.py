"""YAML that people write, read safely and strictly: with the line of every value, so that errors can name it.

Only plain data: no tags, no aliases (a short text could stand for a huge one), no key twice. Scalars are what YAML 1.2
says, so that ``on`` and ``12:30`` are texts and ``1e9`` is a number.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import yaml

from adapters.driving.cli.api import UsageError
from adapters.driving.cli.display import clean

SIZE_BYTES_MAX: Final = 4 << 20
"""Ten thousand rules; reading it takes some seconds, as YAML does."""
DEPTH_MAX: Final = 40
"""A policy's deepest value is at ten; deeper texts are made to break readers."""
PLAIN: Final = frozenset({"null", "bool", "int", "float", "str", "map", "seq"})
STANDARD_INPUT: Final = Path("-")

Place = tuple[str | int, ...]


class DocumentError(UsageError):
    """A file cannot be read as what it should be; a line for each thing that is wrong."""


class Document(msgspec.Struct, frozen=True, eq=False):
    """What a file says, and the line of each value by its path of keys and indexes."""

    name: str
    value: Any
    lines: Mapping[Place, int]

    def at(self, path: Sequence[str | int]) -> str:
        """``file:line`` of the value at `path`, or of what it would be within."""
        wanted = tuple(path)
        while wanted and wanted not in self.lines:
            wanted = wanted[:-1]
        return f"{clean(self.name)}:{self.lines.get(wanted, 1)}"


_Resolver = tuple[str, re.Pattern[str]]
_PLAIN_SCALARS: Final = {
    "null": (["~", "n", "N", ""], r"(?:~|null|Null|NULL|)\Z"),
    "bool": (list("tTfF"), r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    "int": (list("-+0123456789"), r"[-+]?(?:0|[1-9][0-9]*)\Z"),
    "float": (
        list("-+.0123456789"),
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
    ),
}


def _scalars(inherited: Mapping[str | None, Sequence[_Resolver]]) -> dict[str | None, list[_Resolver]]:
    """By the first character of a plain scalar, what it may be besides a text: YAML 1.2's, and what is inherited."""
    found = {first: list(resolvers) for first, resolvers in inherited.items()}
    for tag, (firsts, pattern) in _PLAIN_SCALARS.items():
        for first in firsts:
            found.setdefault(first, []).append((f"tag:yaml.org,2002:{tag}", re.compile(pattern)))
    return found


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's scalars, which bounds nesting and knows no aliases."""

    yaml_implicit_resolvers = _scalars({})
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As the base class has it, within bounds."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.MarkedYAMLError(
                problem="aliases are not taken; write the value again", problem_mark=event.start_mark
            )
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEPTH_MAX} deep", problem_mark=self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which puts quotes around whatever either reading of scalars would take for something else."""

    yaml_implicit_resolvers = _scalars(yaml.SafeDumper.yaml_implicit_resolvers)

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """A text; one with odd characters in double quotes, as within others YAML takes NEL for a line's end."""
        odd = not data.replace("\n", "").isprintable()
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if odd else None)

    yaml_representers: ClassVar[dict[type, Any]] = {**yaml.SafeDumper.yaml_representers, str: represent_str}


def read_yaml(path: Path, *, texts_only: bool = False) -> Document:
    """The document in a file, or on standard input for ``-``; `texts_only`: every scalar as it is written.

    Raises `DocumentError` naming file and line.
    """
    return parse_yaml(_content(path), "standard input" if path == STANDARD_INPUT else str(path), texts_only=texts_only)


def parse_yaml(content: bytes, name: str, *, texts_only: bool = False) -> Document:
    """The same of what a file called `name` holds."""
    try:
        loader = _Loader(content.decode())
    except UnicodeDecodeError as error:
        raise DocumentError(f"{clean(name)}: is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise DocumentError(_said(name, error)) from None
    try:
        node = loader.get_single_node()
        lines: dict[Place, int] = {}
        value = None if node is None else _value(loader, node, (), lines, texts_only=texts_only)
        return Document(name, value, lines)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise DocumentError(_said(name, error)) from None
    finally:
        loader.dispose()


def dump_yaml(value: Any) -> str:
    """Plain data as YAML, in the order it is in, that `parse_yaml` reads as the same."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False
    )
    return text


def _value(loader: _Loader, node: yaml.Node, path: Place, lines: dict[Place, int], *, texts_only: bool) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if node.tag.removeprefix("tag:yaml.org,2002:") not in PLAIN:
        raise _marked(node, f"the tag {node.tag} is not taken")
    match node:
        case yaml.MappingNode():
            found: dict[str, Any] = {}
            for key, child in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _marked(key, "a key must be a text")
                name = key.value
                if name in found:
                    raise _marked(key, f"{name!r} stands here twice, first in line {lines[(*path, name)]}")
                lines[(*path, name)] = key.start_mark.line + 1
                found[name] = _value(loader, child, (*path, name), lines, texts_only=texts_only)
            return found
        case yaml.SequenceNode():
            return [
                _value(loader, child, (*path, index), lines, texts_only=texts_only)
                for index, child in enumerate(node.value)
            ]
        case yaml.ScalarNode():
            return node.value if texts_only else loader.construct_object(node)
        case _:
            raise _marked(node, "is not plain data")


def _marked(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _said(name: str, error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        return f"{clean(name)}{line}: {clean(error.problem or error.context or 'is not YAML')}"
    return f"{clean(name)}: is not YAML: {clean(str(error))}"


def _content(path: Path) -> bytes:
    try:
        if path == STANDARD_INPUT:
            import sys

            content = sys.stdin.buffer.read(SIZE_BYTES_MAX + 1)
        else:
            with path.open("rb") as file:
                content = file.read(SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise DocumentError(f"{clean(str(path))}: {error.strerror}") from error
    if len(content) > SIZE_BYTES_MAX:
        raise DocumentError(f"{clean(str(path))}: larger than the {SIZE_BYTES_MAX >> 20} MiB that are read")
    return content
