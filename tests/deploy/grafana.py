"""Dashboards as they are provisioned, and their SQL as Grafana sends it.

Macros and variables as https://grafana.com/docs/grafana/latest/datasources/postgres/query-editor/ has them, for a data
source that is not said to be TimescaleDB.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.deploy.rendering import DEPLOY

GRAFANA = DEPLOY / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
ANY_INTERVAL = "1m"
"""What Grafana may make of a range where a panel names no least interval."""
MACRO = re.compile(r"\$__(?P<name>\w+)\((?P<arguments>[^()]*)\)")


@dataclass(frozen=True)
class Panel:
    """One query of one panel."""

    dashboard: str
    title: str
    type: str
    format: str
    sql: str
    interval: str
    """The least that `$__interval` is."""

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


def dashboard(name: str) -> dict[str, Any]:
    """What a dashboard's file holds."""
    found: dict[str, Any] = json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text())
    return found


def panels() -> list[Panel]:
    """Every query of every panel."""
    return [
        Panel(
            path.stem,
            panel["title"],
            panel["type"],
            target["format"],
            target["rawSql"],
            panel.get("interval", ANY_INTERVAL),
        )
        for path in DASHBOARDS
        for panel in dashboard(path.stem)["panels"]
        for target in panel["targets"]
    ]


def variables() -> list[str]:
    """The queries that fill the dashboards' variables."""
    return [variable["query"] for path in DASHBOARDS for variable in dashboard(path.stem)["templating"]["list"]]


def expanded(
    sql: str, since: datetime, until: datetime, values: Mapping[str, str], *, interval: str = ANY_INTERVAL
) -> str:
    """SQL without macros and variables, for a range and an interval."""
    for name, value in values.items():
        quoted = "'" + value.replace("'", "''") + "'"
        sql = sql.replace(f"${{{name}:sqlstring}}", quoted)
    sql = sql.replace("$__interval", interval)
    sql = MACRO.sub(lambda found: _macro(found["name"], found["arguments"], since, until), sql)
    if "$" in sql:
        raise ValueError(f"nothing is known of what begins with $ in {sql}")
    return sql


def _macro(name: str, arguments: str, since: datetime, until: datetime) -> str:
    column, *others = (part.strip() for part in arguments.split(","))
    match name:
        case "timeFilter":
            return f"{column} BETWEEN '{_rfc3339(since)}' AND '{_rfc3339(until)}'"
        case "timeGroup" | "timeGroupAlias":
            [interval] = others
            seconds = _seconds(interval.strip("'"))
            grouped = f"floor(extract(epoch from {column})/{seconds})*{seconds}"
            return f'{grouped} AS "time"' if name == "timeGroupAlias" else grouped
        case _:
            raise ValueError(f"no macro of this data source: {name}")


def _seconds(interval: str) -> int:
    units = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
    return int((int(interval[:-1]) * units[interval[-1]]).total_seconds())


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
