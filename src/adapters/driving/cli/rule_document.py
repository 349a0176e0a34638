"""Rules as code: a YAML document of rules and remediation policies, read strictly, and written so that it reads back.

    rules:
      - name: disk full
        metric: disk.used_percent
        warning: 80
    policies:
      - name: clean up
        steps: [...]

It holds no secrets: those of policies are set through the API and stay as they are.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from adapters.driving.cli.display import clean
from adapters.driving.cli.yaml_source import Document, DocumentError, Place, dump_yaml, parse_yaml, read_yaml
from core.domain.errors import InvalidInput
from core.domain.remediation import RemediationPolicy
from core.domain.rules import AlertRule, RuleOrigin

ERRORS_SHOWN_MAX: Final = 20
"""Of one file; the rest shows when these are mended."""
SECTIONS: Final = ("rules", "policies")

S = TypeVar("S", bound=AlertRule | RemediationPolicy)

_PLACE: Final = re.compile(r" - at `\$(?P<path>.*)`\Z")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<field>.*)`")
_STEP: Final = re.compile(r"\.(?P<key>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>\d+)\]")


class StoredRule(AlertRule, frozen=True, kw_only=True, forbid_unknown_fields=False, rename={"for_": "for"}):
    """A rule as the API gives it."""

    id: int
    origin: RuleOrigin
    revision: int
    created_at: datetime
    updated_at: datetime

    @property
    def rule(self) -> AlertRule:
        """What a document says of it."""
        return AlertRule(**{field: getattr(self, field) for field in AlertRule.__struct_fields__})


class StoredPolicy(RemediationPolicy, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A remediation policy as the API gives it."""

    id: int
    secret_names: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime

    @property
    def policy(self) -> RemediationPolicy:
        """What a document says of it."""
        return RemediationPolicy(**{field: getattr(self, field) for field in RemediationPolicy.__struct_fields__})


class RuleDocument(msgspec.Struct, frozen=True):
    """What a document asks for."""

    rules: tuple[AlertRule, ...] | None = None
    """None: it says nothing of rules."""
    policies: tuple[RemediationPolicy, ...] | None = None


def read_document(path: Path) -> RuleDocument:
    """The document in a file, or on standard input for ``-``; raises `DocumentError` with a line for each mistake."""
    return _checked(read_yaml(path))


def parse_document(content: bytes, name: str) -> RuleDocument:
    """The same of what a file called `name` holds."""
    return _checked(parse_yaml(content, name))


def dump_document(document: RuleDocument) -> str:
    """YAML without what is as it would be anyway."""
    sections = {"policies": document.policies, "rules": document.rules}
    return dump_yaml({name: [plain(one) for one in items] for name, items in sections.items() if items is not None})


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """A rule or policy as it is written: fields by their names on the wire, without those at their defaults."""
    found = {}
    for field in msgspec.structs.fields(value):
        member = getattr(value, field.name)
        if field.default is not msgspec.NODEFAULT and member == field.default:
            continue
        if field.default_factory is not msgspec.NODEFAULT and member == field.default_factory():
            continue
        found[field.encode_name] = _plain(member)
    tag = value.__struct_config__.tag
    return found if tag is None else {"type": tag, **found}


def _plain(member: Any) -> Any:
    if isinstance(member, msgspec.Struct):
        return plain(member)
    if isinstance(member, tuple):
        return [_plain(one) for one in member]
    if isinstance(member, float) and member.is_integer() and abs(member) < 2**53:
        return int(member)
    return msgspec.to_builtins(member)


def _checked(document: Document) -> RuleDocument:
    if not isinstance(document.value, dict):
        raise DocumentError(f"{document.at(())}: must be a mapping with {' and '.join(SECTIONS)}")
    problems = [
        f"{document.at((name,))}: there is no {clean(name)!r}; a document has {' and '.join(SECTIONS)}"
        for name in document.value
        if name not in SECTIONS
    ]
    rules = _items(document, "rules", AlertRule, problems)
    policies = _items(document, "policies", RemediationPolicy, problems)
    if problems:
        more = len(problems) - ERRORS_SHOWN_MAX
        shown = problems[:ERRORS_SHOWN_MAX] + ([f"and {more} more mistakes"] if more > 0 else [])
        raise DocumentError("\n".join(shown))
    return RuleDocument(rules, policies)


def _items(document: Document, section: str, kind: type[S], problems: list[str]) -> tuple[S, ...] | None:
    given = document.value.get(section)
    if given is None:
        return None
    if not isinstance(given, list):
        problems.append(f"{document.at((section,))}: {section} must be a list")
        return None
    found: dict[str, S] = {}
    for index, one in enumerate(given):
        try:
            item = msgspec.convert(one, kind)
        except msgspec.ValidationError as error:
            problems.append(_explained(document, (section, index), str(error)))
        except InvalidInput as error:
            path = (section, index, *_steps("." + error.field))
            problems.append(f"{document.at(path)}: {_named(one)}{clean(str(error))}")
        else:
            if item.name in found:
                problems.append(f"{document.at((section, index, 'name'))}: {clean(item.name)!r} stands here twice")
            found[item.name] = item
    return tuple(found.values())


def _explained(document: Document, within: Place, message: str) -> str:
    """msgspec's words with the place in the file, and the field by its name."""
    place = _PLACE.search(message)
    steps = () if place is None else _steps(place["path"])
    reason = message if place is None else message[: place.start()]
    if unknown := _UNKNOWN.match(reason):
        steps, reason = (*steps, unknown["field"]), "there is no such field"
    field = ".".join(map(str, steps))
    reason = reason.replace("Object missing", "is missing the").replace("Expected", "expected").replace("array", "list")
    said = f"{clean(field)}: {clean(reason)}" if field else clean(reason)
    return f"{document.at((*within, *steps))}: {_named(_at(document.value, within))}{said}"


def _steps(path: str) -> Place:
    """``.steps[0].action`` as keys and indexes."""
    return tuple(step["key"] if step["index"] is None else int(step["index"]) for step in _STEP.finditer(path))


def _at(value: Any, path: Place) -> Any:
    for step in path:
        value = value[step]
    return value


def _named(one: Any) -> str:
    name = one.get("name") if isinstance(one, dict) else None
    return f"{clean(name)!r}: " if isinstance(name, str) else ""
