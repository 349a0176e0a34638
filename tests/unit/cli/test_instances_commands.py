"""`sextant instances`: what sources have met."""

import json

import pytest

from ports.driven.metric_source import SeenInstance
from tests.support.scripted_source import ScriptedVendor
from tests.unit.cli.served_api import Commands, ServedApi
from tests.unit.cli.served_collector import collecting

pytestmark = pytest.mark.usefixtures("no_vendors")

HOSTILE = SeenInstance(
    external_id="i-2", kind="ec2", name="\x1b[31mred\x07", tags={"no\x1b]0;te": "a\nb", "env": "[red]x[/red] \u202e"}
)
PLAIN = SeenInstance(external_id="i-1", kind="host", region="eu-central-1", name="web", tags={"team": "shop"})


def test_instances_are_listed_narrowed_and_shown(api: ServedApi, sextant: Commands) -> None:
    """Their names and tags are vendors', and made safe."""
    assert "no instances" in sextant("instances", "list")
    vendor = ScriptedVendor()
    vendor.found["instances"] = [PLAIN, HOSTILE]
    with collecting(api, vendor):
        sextant.both("collect", "synthetic")
    listed = sextant("instances", "list")
    lines = [line.split() for line in listed.splitlines()]
    assert lines[1][:6] == ["1", "synthetic", "host", "i-1", "web", "eu-central-1"]
    assert len(json.loads(sextant("instances", "list", "--json"))) == 2
    for words in (("--tag", "team:shop"), ("--region", "eu-central-1"), ("--kind", "host"), ("--limit", "1")):
        found = sextant("instances", "list", *words)
        assert "i-1" in found
        assert "i-2" not in found
    assert "there are more" in sextant("instances", "list", "--limit", "1")
    assert "no instances" in sextant("instances", "list", "--provider", "eks")
    shown = sextant("instances", "show", "2")
    assert "[red]x[/red]" in shown
    assert [text for text in listed + shown if not text.isprintable() and text != "\n"] == []
    assert json.loads(sextant("instances", "show", "1", "--json"))["tags"] == {"team": "shop"}
    assert "no instance named '77'" in sextant.refused("instances", "show", "77")
    assert sextant.refused("instances", "list", "--tag", "no-colon")
