"""`sextant alerts backtest`: what a rule would have done."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from adapters.driving.cli.api import HERE, Api, RefusedError, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import clean, labels_text, number_text, span_text, write_line, write_rows
from adapters.driving.cli.output import date_text, write, write_json
from core.domain.rules import AlertRule
from core.domain.times import EPOCH, format_time, parse_duration, parse_time
from ports.driving.alerting import Backtest, BacktestEpisode

RULES_PATH: Final = "/api/v1/alerts/rules"
SHOWN_MAX: Final = 50
"""Episodes of one rule in the table; --json has all that the server lists."""
FILE_ENDINGS: Final = (".yaml", ".yml")


def backtest(
    *,
    rule: Annotated[
        str, Parameter(help="The name or id of a rule, or a YAML file of rules as `rules apply` takes it.")
    ],
    since: Annotated[str, Parameter(help="How far to look back from the end, such as 12h or 30d.")] = "7d",
    start: Annotated[str | None, Parameter(help="Instead of --since: where to begin, RFC 3339 with a zone.")] = None,
    end: Annotated[str | None, Parameter(help="Where to end, RFC 3339 with a zone. Default: now.")] = None,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Run stored samples through a rule: which alerts would have fired, when, for
    how long, who would have been told and what repaired. Nothing is stored and
    nobody is told. The rule need not be on the server.

    For example:

        sextant alerts backtest --rule "disk full" --since 30d
        sextant alerts backtest --rule rules.yaml --start 2026-01-01T00:00:00Z
    """

    async def work(api: Api) -> None:
        end_us = _now_us() if end is None else parse_time(end, "--end")
        begin_us = end_us - parse_duration(since, "--since") if start is None else parse_time(start, "--start")
        span = [("start", format_time(max(0, begin_us))), ("end", format_time(end_us))]
        found = [await api.send("POST", path, Backtest, body, span) for path, body in await _asked(api, rule)]
        if json:
            write_json(found)
            return
        for number, one in enumerate(found):
            if number:
                write("")
            write_backtest(one)

    return with_api(server, work)


def write_backtest(found: Backtest) -> None:
    """Prints what a rule would have done."""
    write_line(f"{found.rule}: {date_text(found.start)} to {date_text(found.end)}")
    write(f"{found.series:,} series, {found.samples:,} samples")
    if not found.series:
        write("no series of that metric matches; `sextant rules list` shows the rule's matchers")
        return
    if not found.episodes_total:
        write("it would not have fired")
        return
    share = found.firing_s / max(1e-9, (found.end - found.start).total_seconds())
    of_time = f" ({share:.1%} of the time)" if found.series == 1 else ""
    write_line(
        f"{_count(found.episodes_total, 'alert')}, firing for {span_text(found.firing_s)} in all{of_time}; "
        f"{_count(found.notifications, 'notification')}, {_count(found.remediations, 'remediation')}"
    )
    columns = ("fired", "for", "severity", "value", "worst", "labels", "told", "repair")
    shown = found.episodes[:SHOWN_MAX]
    write_rows(columns, [_row(one) for one in shown], wide=("labels", "told", "repair"))
    if found.episodes_total > len(shown):
        write(f"and {found.episodes_total - len(shown):,} more")


def _row(one: BacktestEpisode) -> Sequence[str]:
    lasted = span_text(one.duration_s) + ("" if one.resolved_at is not None else ", still")
    return (
        date_text(one.fired_at),
        lasted,
        one.severity.value,
        number_text(one.value),
        number_text(one.worst),
        labels_text(one.labels),
        " ".join(one.channels) or "nobody",
        one.remediation or "-",
    )


async def _asked(api: Api, rule: str) -> list[tuple[str, AlertRule | None]]:
    """Where to ask, and the rule to ask about where it is not stored."""
    from adapters.driving.cli.rule_document import StoredRule, read_document

    if rule.endswith(FILE_ENDINGS) or rule == "-":
        rules = read_document(Path(rule)).rules or ()
        return [(f"{RULES_PATH}/backtest", one) for one in rules]
    for stored in await api.all(RULES_PATH, StoredRule):
        if rule in (stored.name, str(stored.id)):
            return [(f"{RULES_PATH}/{stored.id}/backtest", None)]
    raise RefusedError(f"no rule {clean(rule)!r}; `sextant rules list` shows those there are", status=404)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _now_us() -> int:
    return (datetime.now(UTC) - EPOCH) // timedelta(microseconds=1)
