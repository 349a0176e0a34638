"""Reads a tree of settings structs from environment variables, and says what each one should be.

A field's type, bounds and description make up its line in the documentation and in an error message.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

import msgspec
from msgspec import inspect

from adapters.runtime.setting_kinds import KINDS, SECRET_KINDS
from core.domain.errors import InvalidInput
from core.domain.times import SECOND_US, format_duration, parse_duration

PREFIX: Final = "SEXTANT_"
TEST_PREFIX: Final = "SEXTANT_TEST_"
"""Names for the test suite, which the program passes by."""
FILE_SUFFIX: Final = "_FILE"
SECRET_BYTES_MAX: Final = 65_536
"""A secret's file is a line, not a disk image that was mounted by mistake."""

_SIZE = re.compile(r"(\d{1,15})\s*(B|KiB|MiB|GiB)?\Z", re.ASCII)
_FACTORS: Final = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class SettingsError(Exception):
    """Settings that cannot be used; `problems` has a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings whose repr leaves secrets out."""

    def __repr__(self) -> str:
        kinds = {field.name: _extra(field.type).get("kind") for field in _fields(type(self))}
        shown = (
            f"{name}={'…' if value is not None and kinds[name] in SECRET_KINDS else repr(value)}"
            for name, value in msgspec.structs.asdict(self).items()
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class Setting(msgspec.Struct, frozen=True, eq=False):
    """One setting: where it is kept, how it is named outside, what it may be."""

    section: str
    field: str
    variable: str
    kind: str | None
    type: Any
    """The annotated type, as msgspec understands it."""
    expected: str
    """What its value is, to end the sentence "it is not …"."""
    default: Any
    meaning: str

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be shown; such a setting may be read from a file."""
        return self.kind in SECRET_KINDS

    def text_of(self, value: object) -> str:
        """`value` as it would be written in the environment; secrets are masked, what is absent is empty."""
        if value is None:
            return ""
        if self.is_secret:
            return "…"
        if self.kind == "duration":
            return format_duration(round(cast("float", value) * SECOND_US))
        if self.kind == "size":
            return _format_size(cast("int", value))
        if self.kind is not None and self.kind in KINDS:
            return KINDS[self.kind].show(value)
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def settings_of(tree: type[msgspec.Struct]) -> list[Setting]:
    """Every setting in a struct of sections, in order; what is no section is left out."""
    found = []
    hints = _annotations(tree)
    for section, section_type in hints.items():
        if not issubclass(section_type, Section):
            continue
        annotations = _annotations(section_type)
        found += [_setting(section, field, annotations[field.name]) for field in _fields(section_type)]
    return found


def read_sections(settings: Sequence[Setting], environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Section → field → value of what `environ` sets; raises `SettingsError` naming all that is wrong."""
    problems = _unknown_names(settings, environ)
    sections: dict[str, dict[str, Any]] = {}
    for setting in settings:
        try:
            text = _text(setting, environ)
            if text:
                sections.setdefault(setting.section, {})[setting.field] = _value(setting, text)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError(problems)
    return sections


def _text(setting: Setting, environ: Mapping[str, str]) -> str | None:
    if not setting.is_secret:
        return environ.get(setting.variable) or None
    return secret_text(setting.variable, environ)


def secret_text(name: str, environ: Mapping[str, str]) -> str | None:
    """The secret that a variable holds, or the file that the variable of that name with `FILE_SUFFIX` names.

    Raises ValueError with a line for a person.
    """
    text = environ.get(name) or None
    variable = name + FILE_SUFFIX
    path = environ.get(variable)
    if not path:
        return text
    if text is not None:
        raise ValueError(f"{name} and {variable} are both set; keep one of them")
    try:
        return _secret_in(Path(path).expanduser())
    except OSError as error:
        raise ValueError(f"{variable}: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{variable}: {path} {error}") from error


def _secret_in(path: Path) -> str:
    """The text in a file, without the line's end; a ValueError says what the file is instead."""
    with path.open("rb") as file:
        content = file.read(SECRET_BYTES_MAX + 1)
    if len(content) > SECRET_BYTES_MAX:
        raise ValueError(f"is larger than {SECRET_BYTES_MAX} bytes")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if not text:
        raise ValueError("is empty")
    return text


def _value(setting: Setting, text: str) -> Any:
    try:
        match setting.kind:
            case "duration":
                return msgspec.convert(parse_duration(text.strip(), "") / SECOND_US, setting.type)
            case "size":
                return msgspec.convert(_parse_size(text.strip()), setting.type)
            case str() as kind if kind in KINDS:
                return KINDS[kind].read(text.strip())
            case _:
                return msgspec.convert(text.strip(), setting.type, strict=False)
    except (ValueError, InvalidInput):
        shown = "its value" if setting.is_secret else repr(text[:80])
        raise ValueError(f"{setting.variable}: {shown} is not {setting.expected}") from None


def _parse_size(text: str) -> int:
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _FACTORS[match[2]]


def _format_size(size_bytes: int | None) -> str:
    size_bytes = size_bytes or 0
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _FACTORS[unit] == 0:
            return f"{size_bytes // _FACTORS[unit]}{unit}"
    return str(size_bytes)


def _unknown_names(settings: Sequence[Setting], environ: Mapping[str, str]) -> list[str]:
    known = {setting.variable for setting in settings}
    known |= {setting.variable + FILE_SUFFIX for setting in settings if setting.is_secret}
    bare = sorted(name.removeprefix(PREFIX) for name in known)
    problems = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX) or name in known:
            continue
        near = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=0.7)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else "unset it"
        problems.append(f"{name} is not a setting; {hint}")
    return problems


def _setting(section: str, field: inspect.Field, annotation: Any) -> Setting:
    extra = _extra(field.type)
    kind = extra.get("kind")
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    bare = field.name
    if kind == "duration":
        bare = bare.removesuffix("_s")
    elif kind == "size":
        bare = bare.replace("_bytes", "")
    return Setting(
        section=section,
        field=field.name,
        variable=f"{PREFIX}{section}_{bare}".upper(),
        kind=kind,
        type=annotation,
        expected=_expected(kind, field.type, annotation),
        default=default,
        meaning=cast("inspect.Metadata", field.type).extra_json_schema["description"],  # type: ignore[index]  # every setting has one; a test reads them all
    )


def _expected(kind: str | None, of: inspect.Type, annotation: Any) -> str:
    inner = of.type if isinstance(of, inspect.Metadata) else of
    match kind, inner:
        case "duration", inspect.FloatType(ge=low, le=high):
            return f"a duration from {_seconds(low)} to {_seconds(high)}, such as 500ms, 30s, 5m or 7d"
        case "size", inspect.IntType(ge=low, le=high):
            return f"a size from {_format_size(low or 0)} to {_format_size(high or 0)}, such as 512KiB or 8MiB"
        case str(), _ if kind in KINDS:
            return KINDS[kind].expected
        case _, inspect.LiteralType():
            return "one of " + ", ".join(get_args(get_args(annotation)[0]))  # in the order written
        case _, inspect.BoolType():
            return "true or false"
        case _, inspect.IntType(ge=low, le=high):
            return f"an integer from {low} to {high}"
        case _, inspect.FloatType(gt=low, le=high):
            return f"a number above {low:g}, up to {high:g}"
        case _:
            return "a text that is not empty"


def _seconds(value: float | None) -> str:
    return format_duration(round((value or 0) * SECOND_US))


def _fields(struct: type[msgspec.Struct]) -> Sequence[inspect.Field]:
    return cast("inspect.StructType", inspect.type_info(struct)).fields


def _annotations(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Field → annotation, as written; settings structs do not inherit fields from each other."""
    return {name: struct.__annotations__[name] for name in struct.__struct_fields__}


def _extra(of: inspect.Type) -> dict[str, str]:
    return (of.extra or {}) if isinstance(of, inspect.Metadata) else {}
