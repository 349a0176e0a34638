"""Provisioning and dashboards have the fields that Grafana asks for, and name one another."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.deploy.grafana import DASHBOARDS, GRAFANA, dashboard, expanded, panels

NAMES = [path.stem for path in DASHBOARDS]
COLUMNS = 24
"""The width of Grafana's grid."""


def provisioned(kind: str) -> dict[str, Any]:
    """The one item of a provisioning file. Grafana reads files that end in .yaml; JSON is YAML."""
    text = (GRAFANA / "provisioning" / kind / "sextant.yaml").read_text()
    document = json.loads(text)
    assert document == yaml.safe_load(text)
    assert document["apiVersion"] == 1
    [item] = document["datasources" if kind == "datasources" else "providers"]
    found: dict[str, Any] = item
    return found


def test_the_data_source_is_one_of_postgresql() -> None:
    """It names no place, login or password itself: they come from Grafana's environment."""
    source = provisioned("datasources")
    assert (source["type"], source["uid"], source["access"]) == ("grafana-postgresql-datasource", "sextant", "proxy")
    open_fields = [source["url"], source["user"], source["jsonData"]["database"], source["secureJsonData"]["password"]]
    assert all(field.startswith("$GRAFANA_SEXTANT_") for field in open_fields)
    said = (GRAFANA.parent / "README.md").read_text()
    assert [field for field in open_fields if field.removeprefix("$") not in said] == []


def test_dashboards_come_from_files() -> None:
    """The provider reads a folder, and nobody's change in the browser is lost silently: there are none."""
    provider = provisioned("dashboards")
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"].startswith("/")


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_has_what_grafana_needs(name: str) -> None:
    """Title, uid and panels; each panel a type, a place on the grid, the data source and SQL."""
    board, source = dashboard(name), provisioned("datasources")
    assert board["uid"] == f"sextant-{name}"
    assert board["title"]
    assert "id" not in board  # Grafana's own number, of another database
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    wanted = {"type": source["type"], "uid": source["uid"]}
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["type"] in ("stat", "timeseries", "table")
        assert panel["datasource"] == wanted
        for target in panel["targets"]:
            assert target["datasource"] == wanted
            assert target["rawQuery"] is True
            assert target["format"] == ("time_series" if panel["type"] == "timeseries" else "table")
    assert all(variable["datasource"] == wanted for variable in board["templating"]["list"])


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_lie_on_one_another(name: str) -> None:
    """Each row of the grid is full, and no panel is on two."""
    places = [panel["gridPos"] for panel in dashboard(name)["panels"]]
    taken = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < COLUMNS
    assert all(first["y"] <= second["y"] for first, second in pairwise(places))


@pytest.mark.parametrize("name", NAMES)
def test_lines_join_what_is_measured_and_bars_show_what_is_counted(name: str) -> None:
    """Sources measure every five minutes, each pod at a time of its own: a line with gaps and no points would show
    nothing, and a shorter slot hold some of the pods. A count goes with its slot, and a line would make up others."""
    for panel in dashboard(name)["panels"]:
        if panel["type"] != "timeseries":
            continue
        custom, [target] = panel["fieldConfig"]["defaults"]["custom"], panel["targets"]
        counts = "count(" in target["rawSql"] or "collection_runs" in target["rawSql"]
        assert custom.get("drawStyle", "line") == ("bars" if counts else "line"), panel["title"]
        assert counts or custom["spanNulls"] is True, panel["title"]
        assert ("$__interval" in target["rawSql"]) == (panel.get("interval") == "5m"), panel["title"]


def test_uids_and_titles_are_unique() -> None:
    """Grafana refuses a second dashboard with the same."""
    boards = [dashboard(name) for name in NAMES]
    assert NAMES == ["cluster", "collection", "overview"]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards)


def test_macros_are_expanded_as_documented() -> None:
    """What the tests send is what Grafana would."""
    since, until = datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 13, tzinfo=UTC)
    sql = "SELECT $__timeGroupAlias(ts, $__interval) FROM t WHERE $__timeFilter(ts) AND c = ${cluster:sqlstring}"
    assert expanded(sql, since, until, {"cluster": "o'brien"}) == (
        'SELECT floor(extract(epoch from ts)/60)*60 AS "time" FROM t '
        "WHERE ts BETWEEN '2026-01-31T12:00:00Z' AND '2026-01-31T13:00:00Z' AND c = 'o''brien'"
    )
    with pytest.raises(ValueError, match="nothing is known"):
        expanded("SELECT $cluster", since, until, {})


def test_panels_read_nothing_but_the_views() -> None:
    """A login has rights to no more."""
    for panel in panels():
        assert "sextant_grafana." in panel.sql
        assert "sextant." not in panel.sql.replace("sextant_grafana.", ""), panel
