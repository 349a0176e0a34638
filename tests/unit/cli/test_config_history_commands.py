"""`sextant config`: what changed, what it was, what it is meant to be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.served_api import Commands, ServedApi

CHANGE = """
{cluster_id: prod, namespace: shop, workload: checkout, kind: image, ts: "%s",
 before: %s, after: {app: "shop:%s"}, actor: anna}
"""


@pytest.fixture
def recorded(sextant: Commands, tmp_path: Path) -> str:
    """Return what recording three changes of one workload prints, each a day after the other."""
    file = tmp_path / "change.yaml"
    printed = ""
    for day, before in enumerate(("null", '{app: "shop:0", sidecar: x}', '{app: "shop:1"}')):
        file.write_text(CHANGE % (f"2026-11-0{day + 1}T12:00:00Z", before, day))
        printed += sextant("config", "record", str(file))
    return printed


def test_changes_are_recorded_and_listed(sextant: Commands, recorded: str) -> None:
    """Newest first, each with its differences."""
    assert recorded.splitlines()[1:] == [
        'recorded image of shop/checkout: /app: "shop:0" → "shop:1"; /sidecar: - "x"',
        'recorded image of shop/checkout: /app: "shop:1" → "shop:2"',
    ]
    printed = sextant("config", "history", "--cluster", "prod", "--workload", "checkout", "--kind", "image")
    lines = printed.splitlines()
    assert lines[0].split() == ["ID", "WHEN", "CLUSTER", "WORKLOAD", "KIND", "CHANGE", "BY"]
    assert '/app: "shop:1" → "shop:2"' in lines[1]
    assert "first seen" in lines[3]
    assert lines[1].rstrip().endswith("anna (api)")
    assert "there are more" in sextant("config", "history", "--limit", "2")
    assert "no changes" in sextant("config", "history", "--namespace", "other")


def test_one_is_named_by_the_beginning_of_its_id(sextant: Commands, recorded: str) -> None:
    """As a terminal shows it; what several begin with is told apart."""
    ids = [one["id"] for one in json.loads(sextant("config", "history", "--json"))]
    for typed in (ids[1], ids[1][:8]):
        shown = sextant("config", "show", typed)
        assert '/sidecar: - "x"' in shown
        assert "shop/checkout in prod" in shown
    assert json.loads(sextant("config", "show", ids[1][:8], "--json"))["id"] == ids[1]
    assert "is part of several ids" in sextant.refused("config", "show", "", status=2)
    assert sextant.refused("config", "show", "zzzz")


def test_what_it_was_at_an_instant(sextant: Commands, recorded: str) -> None:
    """YAML, with since when it was so."""
    printed = sextant("config", "at", "prod", "checkout", "--ts", "2026-11-02T13:00:00Z")
    assert printed.startswith("# image, since 2026-11-02 12:00:00Z (")
    assert "app: shop:1" in printed.replace('"', "").replace("'", "")
    assert json.loads(sextant("config", "at", "prod", "checkout", "--json"))["configuration"]["image"]
    assert "ts" in sextant.refused("config", "at", "prod", "checkout", "--ts", "noon")
    assert sextant.refused("config", "at", "prod", "absent")


def test_what_it_is_meant_to_be_is_declared(
    api: ServedApi, sextant: Commands, tmp_path: Path, type_in: Callable[[str], None]
) -> None:
    """And shown as YAML."""
    assert "nothing is declared" in sextant("config", "baselines")
    file = tmp_path / "baseline.yaml"
    file.write_text('{cluster_id: prod, namespace: shop, workload: checkout, kind: image, document: {app: "shop:1"}}')
    assert sextant("config", "declare", str(file)) == "declared image of shop/checkout\n"
    assert "workload: checkout" in sextant("config", "baselines")
    assert json.loads(sextant("config", "baselines", "--json"))[0]["baseline"]["document"] == {"app": "shop:1"}
    type_in(file.read_text())
    assert sextant("config", "declare", "-") == "declared image of shop/checkout\n"
    type_in("{cluster_id: prod, workload: checkout, kind: image, after: {app: x}}")
    assert sextant("config", "record", "-").startswith("recorded image of default/checkout")
    file.write_text("{kind: image}")
    assert sextant.refused("config", "declare", str(file))
    assert "No such file" in sextant.refused("config", "record", str(tmp_path / "absent"), status=2)


def test_documents_are_anybodys_and_made_safe(sextant: Commands, tmp_path: Path) -> None:
    """Their names and their texts, in differences and in YAML."""
    hostile = "\x1b[31m\x07\x9b2J\u202e"
    file = tmp_path / "change.json"
    documents = {"before": {"a": hostile}, "after": {hostile: "x", "a": f"{hostile}\nb"}}
    where = {"cluster_id": "prod", "namespace": "shop", "workload": "checkout", "kind": "runtime"}
    file.write_text(json.dumps({**where, **documents}))
    printed = sextant("config", "record", str(file)) + sextant("config", "history")
    printed += sextant("config", "show", json.loads(sextant("config", "history", "--json"))[0]["id"])
    printed += sextant("config", "at", "prod", "checkout")
    assert [character for character in printed if not character.isprintable() and character != "\n"] == []
