"""`sextant alerts …`: what a person reads, what a script gets, and what cannot happen to their terminal."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from adapters.main import run
from core.domain.alerts import EpisodeState
from core.domain.notifications import AlertEvent, Message, NotificationState, WebhookConfig
from core.domain.rules import Severity
from core.domain.tenants import Scope
from tests.support.alert_rows import FIRING
from tests.unit.cli.served_api import Commands, ServedApi

HOSTILE = {"host": "\x1b]0;owned\x07[red]a[/red]\x1b[2J\u202e", "b": "x\ny"}


def test_nothing_says_what_to_do_next(sextant: Commands) -> None:
    """An empty list is a sentence, and in JSON an empty list."""
    assert "sextant rules list" in sextant("alerts", "list")
    assert "sextant rules apply" in sextant("alerts", "list", "--all")
    assert "sextant alerts list --all" in sextant("alerts", "list", "--rule", "x")
    assert json.loads(sextant("alerts", "list", "--json")) == []
    assert "silence add" in sextant("alerts", "silence", "list")
    assert "nobody is told" in sextant("alerts", "channels", "list")
    assert "dead-letter list is empty" in sextant("alerts", "notifications", "list", "--state", "dead")
    assert "names a remediation policy" in sextant("remediations", "list")
    assert "sextant rules apply" in sextant("rules", "list")
    assert "no entries yet" in sextant("audit", "list")


def test_a_list_shows_what_is_active(api: ServedApi, sextant: Commands) -> None:
    """Firing and pending; with --all also what has resolved."""
    now = datetime.now(UTC)
    fired = now - timedelta(hours=3, minutes=20)
    api.alert(msgspec.structs.replace(FIRING, started_at=fired, fired_at=fired))
    api.alert(
        msgspec.structs.replace(FIRING, state=EpisodeState.PENDING, severity=None, fired_at=None, rule="waits"),
        target_key="s2",
    )
    api.alert(
        msgspec.structs.replace(FIRING, state=EpisodeState.RESOLVED, resolved_at=now, rule="over"), target_key="s3"
    )
    lines = sextant("alerts", "list").splitlines()
    assert lines[0].split() == ["ID", "STATE", "SEVERITY", "SINCE", "RULE", "LABELS", "VALUE", "LIMIT"]
    assert lines[1].split() == ["1", "firing", "warning", "3h", "ago", "cpu", "high", "host=a", "97.5", "90"]
    assert "waits" in lines[2]
    assert len(lines) == 3
    assert "over" in sextant("alerts", "list", "--all")
    assert [one["rule"] for one in json.loads(sextant("alerts", "list", "--state", "resolved", "--json"))] == ["over"]


def test_a_list_ends_where_it_was_told_to(api: ServedApi, sextant: Commands) -> None:
    """And says that there is more."""
    for number in range(5):
        api.alert(msgspec.structs.replace(FIRING, episode=number + 1), target_key=f"s{number}")
    assert len(json.loads(sextant("alerts", "list", "--json"))) == 5
    printed = sextant("alerts", "list", "--limit", "2")
    assert len(printed.splitlines()) == 4
    assert "--limit" in printed.splitlines()[-1]
    sextant("alerts", "list", "--limit", "0", status=2)


def test_a_long_list_comes_whole(api: ServedApi, sextant: Commands) -> None:
    """Over several pages, each larger than what one read of a socket gives."""
    for number in range(1_200):
        api.alert(FIRING, target_key=f"s{number}")
    found = json.loads(sextant("alerts", "list", "--limit", "5000", "--json"))
    assert [one["id"] for one in found] == list(range(1_200, 0, -1))


def test_labels_cannot_command_a_terminal(api: ServedApi, sextant: Commands) -> None:
    """No escape, control character or direction mark of a sender reaches it; brackets are only brackets."""
    alert = msgspec.structs.replace(FIRING, labels=HOSTILE, annotations={"summary": "\x1b[31m{{x}}\r\nsextant: ok"})
    found = api.alert(alert)
    for printed in (sextant("alerts", "list"), sextant("alerts", "show", str(found.id))):
        assert all(character.isprintable() for character in printed.replace("\n", ""))
        assert "[red]a[/red]" in printed
        assert "owned" not in printed
        assert not any(line.startswith("sextant: ok") for line in printed.splitlines())


def test_an_alert_tells_its_story(api: ServedApi, sextant: Commands) -> None:
    """What it is, when it fired, who was told, what happened then, in order."""
    alert = api.alert(msgspec.structs.replace(FIRING, severity=Severity.CRITICAL, annotations={"summary": "a is busy"}))
    sextant("alerts", "ack", str(alert.id))
    printed = sextant("alerts", "show", str(alert.id))
    assert "2026-01-31 12:01:00Z" in printed
    assert "firing, acked, critical" in printed
    assert "97.5 against 90" in printed
    assert "a is busy" in printed
    story = printed.split("What happened\n")[1].splitlines()
    assert [line.split("  ")[-1].strip() for line in story[:2]] == ["the condition began to hold", "fired"]
    assert "acknowledged" in story[2]
    shown = json.loads(sextant("alerts", "show", str(alert.id), "--json"))
    assert shown["acknowledged_by"].startswith("key:")
    assert shown["timeline"][0]["kind"] == "change"


def test_what_is_not_there_is_said_in_a_line(sextant: Commands) -> None:
    """With the server's own words."""
    assert sextant.refused("alerts", "show", "77") == "sextant: no alert named '77'\n"
    assert sextant.refused("alerts", "ack", "77") == "sextant: no alert named '77'\n"
    assert "no channel 'x'" in sextant.refused("alerts", "channels", "test", "x")


def test_closing_is_asked_for_once(api: ServedApi, sextant: Commands) -> None:
    """One that has resolved is a conflict."""
    over = msgspec.structs.replace(FIRING, state=EpisodeState.RESOLVED, resolved_at=FIRING.started_at)
    firing, resolved = api.alert(), api.alert(over, target_key="s2")
    assert "closing alert" in sextant("alerts", "close", str(firing.id))
    assert "resolved" in sextant.refused("alerts", "close", str(resolved.id))


def test_a_wrong_key_or_url_is_status_2(sextant: Commands, api: ServedApi) -> None:
    """And says which of them, and what a key lacks."""
    assert "API key is unknown" in sextant.refused("alerts", "list", "--key", "sx_wrong", status=2)
    ingest = api.new_key(Scope.INGEST)
    assert "scope" in sextant.refused("alerts", "list", "--key", ingest, status=2)
    assert "is not a URL" in sextant.refused("alerts", "list", "--url", "ftp://x", status=2)


def test_a_server_that_is_away_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, no traceback."""
    monkeypatch.setenv("SEXTANT_AGENT_KEY", "sx_any")
    assert run(["alerts", "list", "--url", "http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_silences_come_and_go(sextant: Commands) -> None:
    """From now or from later, for a while or until an instant."""
    words = ["alerts", "silence", "add", "host=a", "severity=~w.*", "--reason", "new disk"]
    assert sextant(*words, "--for", "2h").startswith("silence 1: host=a severity=~w.* until ")
    listed = sextant("alerts", "silence", "list")
    assert "in force" in listed
    assert "new disk" in listed
    sextant(*words, "--start", "2100-01-01T00:00:00Z", "--end", "2100-01-02T00:00:00Z")
    assert "begins in" in sextant("alerts", "silence", "list")
    assert "either --for" in sextant.refused(*words, status=2)
    assert "--for" in sextant.refused(*words, "--for", "soon", status=2)
    assert sextant("alerts", "silence", "end", "1") == "ended silence 1\n"
    assert "host" not in sextant("alerts", "silence", "list").splitlines()[1].split("2100")[0]
    assert "ended" in sextant("alerts", "silence", "list", "--ended")


def test_dead_notifications_are_sent_again_by_the_beginning_of_their_id(api: ServedApi, sextant: Commands) -> None:
    """One, or all; what is not dead cannot be."""
    channel_id = _channel(api)
    ids = [_dead_notification(api, channel_id) for _ in range(3)]
    listed = sextant("alerts", "notifications", "list", "--state", "dead")
    assert "it said no" in listed
    assert str(ids[0])[:8] in listed
    assert "on its way again" in sextant("alerts", "notifications", "resend", str(ids[0])[:8])
    assert "no dead notification" in sextant.refused("alerts", "notifications", "resend", str(ids[0]), status=2)
    assert len(json.loads(sextant("alerts", "notifications", "resend", "--all", "--json"))) == 2
    assert "nothing to send" in sextant("alerts", "notifications", "resend", "--all")
    assert "give ids" in sextant.refused("alerts", "notifications", "resend", status=2)


def test_channels_are_listed_without_secrets(api: ServedApi, sextant: Commands) -> None:
    """Their name, type and target."""
    _channel(api)
    printed = sextant("alerts", "channels", "list")
    assert "https://hooks.example.com/x" in printed
    assert "hunter2" not in printed + sextant("alerts", "channels", "list", "--json")


def _channel(api: ServedApi) -> int:
    config = WebhookConfig(name="hook", url="https://hooks.example.com/x")
    return api.within(api.storage.channels.create(api.tenant.id, config, ("hunter2",))).id


def _dead_notification(api: ServedApi, channel_id: int) -> uuid.UUID:
    message = Message(
        id=uuid.uuid4(),
        event=AlertEvent.FIRED,
        tenant=api.tenant.name,
        rule="cpu high",
        alerts=(),
        alerts_total=1,
        created_at=datetime.now(UTC),
    )
    api.within(api.storage.notifications.put(api.tenant.id, channel_id, message))
    row = api.database.notifications[message.id]
    row.state, row.last_error = NotificationState.DEAD, "it said no"
    return message.id
