"""What a setting can be beside msgspec's own numbers, texts and literals: its type, how it is read, how it is shown."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from core.domain.errors import InvalidInput
from core.domain.tenants import check_tenant_name

Seconds = Annotated[float, Meta(extra={"kind": "duration"})]
"""Written ``500ms``, ``10s``, ``5m``, ``1h`` or ``7d``."""
Size = Annotated[int, Meta(extra={"kind": "size"})]
"""Bytes, written ``8MiB``, ``512KiB`` or as a plain number."""
Secret = Annotated[str | None, Meta(extra={"kind": "secret"})]
"""Text that no repr, log or error shows; may come from a file."""
DatabaseUrl = Annotated[str | None, Meta(extra={"kind": "database_url"})]
"""A PostgreSQL connection URL; a secret, since it may hold a password."""
Directory = Annotated[Path, Meta(extra={"kind": "directory"})]
"""A directory, which need not exist yet."""
OptionalFile = Annotated[Path | None, Meta(extra={"kind": "file"})]
"""A file's path."""
Address = Annotated[str | None, Meta(extra={"kind": "address"})]
"""A host and a port, ``host:7233`` or ``[::1]:7233``."""
WebUrl = Annotated[str | None, Meta(extra={"kind": "web_url"})]
"""An HTTP URL without a query, and without a slash at its end."""
Networks = Annotated[tuple[str, ...], Meta(extra={"kind": "networks"})]
"""Networks in CIDR notation, each as `ipaddress.ip_network` writes it."""
Commands = Annotated[dict[str, Path], Meta(extra={"kind": "commands"})]
"""Name → absolute path of a program."""
TenantNames = Annotated[tuple[str, ...], Meta(extra={"kind": "tenants"})]
"""Names of tenants."""

SECRET_KINDS: Final = frozenset({"secret", "database_url"})
_COMMAND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z", re.ASCII)


class Kind(msgspec.Struct, frozen=True):
    """How a kind of setting is read and shown; `read` raises ValueError."""

    read: Callable[[str], Any]
    expected: str
    """What its value is, to end the sentence "it is not …"."""
    show: Callable[[Any], str] = str


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _show_path(path: Path) -> str:
    return str(path).replace(str(Path.home()), "~", 1)


def _database_url(text: str) -> str:
    url = urlsplit(text)
    _ = url.port  # raises ValueError unless it is a number
    if url.scheme not in ("postgresql", "postgres") or "//" not in text:
        raise ValueError(text)
    return text


def _address(text: str) -> str:
    url = urlsplit(f"//{text}")
    if not url.hostname or not url.port or url.netloc != text or "@" in text:
        raise ValueError(text)
    return text


def _web_url(text: str) -> str:
    url = urlsplit(text)
    _ = url.port
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or "@" in url.netloc:
        raise ValueError(text)
    return text.rstrip("/")


def _networks(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(part.strip())) for part in text.split(","))


def _commands(text: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for part in text.split(","):
        name, _, path = part.strip().partition("=")
        if not _COMMAND_NAME.match(name) or name in found or not path.startswith("/"):
            raise ValueError(text)
        found[name] = Path(path)
    return found


def _tenants(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        try:
            check_tenant_name(name)
        except InvalidInput as error:
            raise ValueError(text) from error
    return names


KINDS: Final[Mapping[str, Kind]] = {
    "directory": Kind(_path, "a directory", _show_path),
    "file": Kind(_path, "a file", _show_path),
    "database_url": Kind(_database_url, "a URL such as postgresql://user:password@host:5432/database"),
    "address": Kind(_address, "an address such as temporal.internal:7233"),
    "web_url": Kind(_web_url, "a URL such as https://sextant.example.org"),
    "networks": Kind(_networks, "a list of networks such as 127.0.0.0/8,fd00::/8", ",".join),
    "tenants": Kind(_tenants, "a list of tenants such as default,shop", ",".join),
    "commands": Kind(
        _commands,
        "a list such as restart-web=/usr/local/bin/restart-web,purge=/usr/local/bin/purge",
        lambda commands: ",".join(f"{name}={path}" for name, path in commands.items()),
    ),
}
"""Those whose values need no bounds; durations and sizes have some, and are read with them."""
