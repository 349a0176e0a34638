"""`sextant settings`: what can be set, and what is."""

from typing import Annotated

import msgspec

from adapters.driving.cli.database import Hidden, Json
from adapters.driving.cli.output import write_json, write_table
from adapters.runtime.environment import settings_of
from adapters.runtime.settings import Settings


class Line(msgspec.Struct, frozen=True):
    """One setting, as `sextant settings --json` prints it; a secret's value is masked."""

    variable: str
    value: str
    default: str
    expected: str
    meaning: str


def settings_in_force(
    *,
    json: Json = False,
    settings: Annotated[Settings, Hidden],
) -> None:
    """Show every setting: its environment variable, the value in force, the
    default, and what it means.

    Durations are written 500ms, 30s, 5m, 1h or 7d, sizes 512KiB or 8MiB. The
    secrets may come from files: SEXTANT_DATABASE_URL_FILE=/run/secrets/url.
    Names that are no settings are refused by every command.

    For example:

        sextant settings
        SEXTANT_INGEST_FUTURE_SKEW=1m sextant settings --json

    Exit codes: 0 shown; 1 a setting is wrong, every wrong one is named; 2 wrong
    usage.
    """
    shown = lines(settings)
    if json:
        write_json(shown)
    else:
        columns = ("variable", "value", "default", "meaning")
        write_table(columns, [(line.variable, line.value, line.default, line.meaning) for line in shown])


def lines(settings: Settings) -> list[Line]:
    """All settings in order, with their values in `settings`."""
    return [
        Line(
            variable=setting.variable,
            value=setting.text_of(getattr(getattr(settings, setting.section), setting.field)),
            default=setting.text_of(setting.default),
            expected=setting.expected,
            meaning=setting.meaning,
        )
        for setting in settings_of(Settings)
    ]
