"""Which server the sending commands talk to, and with which key: from flags, environment or this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from adapters.driving.cli.client import ConfigurationError, Target
from adapters.runtime.settings import AgentSettings, Settings, SettingsError, load_settings

KEY_FILE: Final = "admin.key"
"""Where `sextant serve` keeps the first key, in its data directory."""
PREFIX: Final = "SEXTANT_AGENT_"


def sender_settings(environ: Mapping[str, str], flags: Mapping[str, str | None], data_dir: Path | None) -> Settings:
    """The settings of a sending command, its key found.

    `flags` maps a setting's name without `PREFIX` to what the command line said, if anything. Without a key,
    that of the server in `data_dir` (default: where `sextant serve` keeps its data) is taken.
    Raises `ConfigurationError`.
    """
    given = {PREFIX + name: text for name, text in flags.items() if text is not None}
    inherited = dict(environ)
    if PREFIX + "KEY" in given or data_dir is not None:
        for name in ("KEY", "KEY_FILE"):
            inherited.pop(PREFIX + name, None)
    try:
        settings = load_settings({**inherited, **given})
    except SettingsError as error:
        raise ConfigurationError(_naming_flags(str(error), given)) from error
    _check_url(settings.agent.url)
    if settings.agent.key is not None:
        return settings
    key = _server_key(data_dir or settings.server.data_dir)
    return msgspec.structs.replace(settings, agent=msgspec.structs.replace(settings.agent, key=key))


def target_of(settings: AgentSettings) -> Target:
    """Where to send to; raises `ConfigurationError` without a key."""
    if settings.key is None:
        raise ConfigurationError("no API key")
    return Target(settings.url, settings.key)


def parse_labels(pairs: tuple[str, ...]) -> dict[str, str]:
    """The labels of ``--label k=v``; raises `ConfigurationError`."""
    labels = {}
    for pair in pairs:
        label, equals, value = pair.partition("=")
        if not equals or not label:
            raise ConfigurationError(f"--label {pair!r} is not of the form name=value")
        labels[label] = value
    return labels


def _naming_flags(problems: str, given: Mapping[str, str]) -> str:
    """Problems with what a flag said, naming the flag and not the setting."""
    for variable in sorted(given, key=len, reverse=True):
        problems = problems.replace(variable, "--" + variable.removeprefix(PREFIX).lower().replace("_", "-"))
    return problems


def _server_key(data_dir: Path) -> str:
    path = data_dir / KEY_FILE
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(
            "no API key: give --key, SEXTANT_AGENT_KEY, SEXTANT_AGENT_KEY_FILE, "
            f"or --data-dir of a server on this machine ({path}: {error.strerror})"
        ) from error


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError unless it is a number
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url!r} is not a URL such as http://127.0.0.1:8000")
