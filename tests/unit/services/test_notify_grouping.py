"""Who is told of what, by example."""

from datetime import timedelta

import msgspec
import pytest

from core.domain.alerts import Alert, EpisodeState, Inhibition, InhibitionSpec, Silence
from core.domain.notifications import ALERTS_PER_MESSAGE_MAX, AlertEvent, Channel
from core.domain.rules import Severity
from core.services.notify_grouping import Decided, decide
from ports.driven.notification_store import OutboxEvent, Surroundings
from tests.support.waiting_events import EMAIL, NOW, PAGER, SLACK, WEBHOOK, alert, channel, event, surroundings

CHAT = channel(1, SLACK)
RESOLVED = {"state": EpisodeState.RESOLVED, "resolved_at": NOW}
SILENCE = Silence(
    id=1,
    matchers=("host=h1",),
    starts_at=NOW - timedelta(hours=1),
    ends_at=NOW + timedelta(hours=1),
    author="key:1",
    reason="maintenance",
    created_at=NOW,
)


def told(decided: Decided) -> list[tuple[str, int, tuple[int, ...]]]:
    """(event, channel, alerts) of each message."""
    return [(each.message.event.value, each.channel_id, each.alert_ids) for each in decided.messages]


def test_alerts_of_one_rule_make_one_message() -> None:
    """Two alerts of a rule that fire together are told together, the worse one first, and another rule's apart."""
    events = [
        event(1, alert(1)),
        event(2, alert(2, severity=Severity.CRITICAL)),
        event(3, alert(3, rule_id=8, rule="full")),
    ]
    decided = decide(events, surroundings([CHAT]), NOW)
    assert told(decided) == [("fired", 1, (2, 1)), ("fired", 1, (3,))]
    assert decided.messages[0].message.alerts_total == 2
    assert (decided.suppressed, decided.kept) == ((), ())


def test_ids_are_stable() -> None:
    """The same events give the same messages with the same ids; other events give others."""
    events = [event(1, alert(1)), event(2, alert(2))]
    first, again = decide(events, surroundings([CHAT]), NOW), decide(events, surroundings([CHAT]), NOW)
    assert first == again
    assert decide(events[:1], surroundings([CHAT]), NOW).messages[0].message.id != first.messages[0].message.id


def test_each_kind_of_channel_gets_what_it_can_use() -> None:
    """An incident for each alert, every alert for a program, the first hundred and the count for a person."""
    channels = [CHAT, channel(2, PAGER), channel(3, WEBHOOK), channel(4, EMAIL)]
    decided = decide([event(n, alert(n)) for n in range(1, 251)], surroundings(channels), NOW)
    by_channel = {one.id: [each for each in decided.messages if each.channel_id == one.id] for one in channels}
    assert [len(each.message.alerts) for each in by_channel[2]] == [1] * 250
    assert [len(each.message.alerts) for each in by_channel[3]] == [100, 100, 50]
    for person in (1, 4):
        (message,) = by_channel[person]
        assert len(message.message.alerts) == ALERTS_PER_MESSAGE_MAX
        assert message.message.alerts_total == len(message.alert_ids) == 250


def test_firing_and_escalating_are_told_once() -> None:
    """Who has heard nothing yet hears that it fired, as bad as it now is; who has, hears that it became worse."""
    worse = alert(1, severity=Severity.CRITICAL)
    both = [event(1, worse), event(2, worse, AlertEvent.ESCALATED)]
    (fresh,) = decide(both, surroundings([CHAT]), NOW).messages
    assert fresh.message.event is AlertEvent.FIRED
    assert fresh.message.alerts[0].severity is Severity.CRITICAL
    decided = decide(both, surroundings([CHAT], told=[(1, 1)]), NOW)
    assert told(decided) == [("escalated", 1, (1,))]
    assert decided.suppressed == ((1, "told already"),)


def test_what_resolved_before_anybody_knew_is_not_told() -> None:
    """Neither that it fired nor that it resolved."""
    over = alert(1, **RESOLVED)
    decided = decide([event(1, over), event(2, over, AlertEvent.RESOLVED)], surroundings([CHAT]), NOW)
    assert decided.messages == ()
    assert decided.suppressed == ((1, "resolved before anybody was told"), (2, "nobody was told that it fired"))


def test_an_end_is_told_to_whoever_heard_of_the_beginning() -> None:
    """Even where the rule names other channels by now."""
    over = event(2, alert(1, **RESOLVED), AlertEvent.RESOLVED, channels=("mail",))
    channels = [CHAT, channel(4, EMAIL)]
    assert told(decide([over], surroundings(channels, told=[(1, 1)]), NOW)) == [("resolved", 1, (1,))]


@pytest.mark.parametrize(
    ("kind", "changes", "kept"),
    [
        (AlertEvent.FIRED, {}, True),
        (AlertEvent.ESCALATED, {}, True),
        (AlertEvent.FIRED, RESOLVED, False),
        (AlertEvent.RESOLVED, RESOLVED, True),
        (AlertEvent.ACKNOWLEDGED, {}, False),
        (AlertEvent.REMEDIATION, {}, True),
        (AlertEvent.REMEDIATION, RESOLVED, False),
    ],
)
def test_a_silence_keeps_what_may_outlast_it(kind: AlertEvent, changes: dict[str, object], kept: bool) -> None:
    """While it lasts nothing is sent; what still matters afterwards waits, all else is dropped."""
    heard = [(1, 1)] if kind is not AlertEvent.FIRED else []
    one = event(1, alert(1, **changes), kind)
    decided = decide([one], surroundings([CHAT], silences=[SILENCE], told=heard), NOW)
    assert (decided.messages, decided.kept) == ((), (1,) if kept else ())
    if kind is AlertEvent.ACKNOWLEDGED:
        assert decided.suppressed == ((1, "silenced by key:1: maintenance"),)
    after = decide([one], surroundings([CHAT], silences=[SILENCE], told=heard), SILENCE.ends_at)
    assert bool(after.messages) is (kept or kind in (AlertEvent.ACKNOWLEDGED, AlertEvent.REMEDIATION))


def test_an_inhibition_keeps_its_targets() -> None:
    """While the site is down nobody hears of its hosts, and of another site's they do."""
    spec = InhibitionSpec(name="site down", source=("alertname=down",), target=("alertname=busy",), equal=("site",))
    down = alert(9, rule="down", rule_id=1, labels={"site": "a"})
    hosts = [alert(1, labels={"site": "a"}), alert(2, labels={"site": "b"})]
    around = surroundings([CHAT], inhibitions=[Inhibition(id=1, spec=spec, created_at=NOW)], firing=[down, *hosts])
    decided = decide([event(1, hosts[0]), event(2, hosts[1]), event(3, down)], around, NOW)
    assert decided.kept == (1,)
    assert told(decided) == [("fired", 1, (2,)), ("fired", 1, (9,))]


@pytest.mark.parametrize(
    ("kind", "created_after_s", "reason"),
    [
        (AlertEvent.FIRED, -1, "acknowledged by key:1"),
        (AlertEvent.FIRED, 1, "acknowledged by key:1"),
        (AlertEvent.ESCALATED, -1, "acknowledged by key:1"),
        (AlertEvent.ESCALATED, 1, None),
        (AlertEvent.ACKNOWLEDGED, 0, None),
        (AlertEvent.REMEDIATION, 1, None),
    ],
)
def test_an_acknowledged_alert_is_told_only_of_what_is_new(
    kind: AlertEvent, created_after_s: int, reason: str | None
) -> None:
    """Somebody is on it: only what became worse since, and what remediation says, is still told."""
    seen = alert(1, acknowledged_at=NOW, acknowledged_by="key:1")
    one = event(1, seen, kind, created_at=NOW + timedelta(seconds=created_after_s))
    heard = [(1, 1)] if kind is AlertEvent.ACKNOWLEDGED else []
    decided = decide([one], surroundings([CHAT], told=heard), NOW)
    assert decided.suppressed == (((1, reason),) if reason is not None else ())
    assert len(decided.messages) == (reason is None)


@pytest.mark.parametrize(
    ("about", "channels", "names", "reason"),
    [
        (alert(1, shadow=True), [CHAT], None, "the rule is in shadow mode"),
        (alert(1, announced=False), [CHAT], None, "it was too old to be told when it was found"),
        (alert(1), [], None, "no channel"),
        (alert(1), [CHAT], (), "no channel"),
        (alert(1), [CHAT], ("mail",), "no channel named 'mail'"),
        (alert(1), [channel(1, msgspec.structs.replace(SLACK, default=False))], None, "no channel"),
        (
            alert(1),
            [channel(1, msgspec.structs.replace(SLACK, enabled=False))],
            None,
            "the channel 'chat' is disabled",
        ),
        (alert(1), [channel(1, SLACK, disabled_reason="410")], ("chat",), "the channel 'chat' is disabled: 410"),
    ],
)
def test_nobody_is_told(about: Alert, channels: list[Channel], names: tuple[str, ...] | None, reason: str) -> None:
    """And the event says why."""
    decided = decide([event(1, about, channels=names)], surroundings(channels), NOW)
    assert decided == Decided(messages=(), suppressed=((1, reason),), kept=())


def test_links_and_texts_stay_with_their_alert() -> None:
    """Two requests for approval are two messages, each with its own link."""
    asked = [event(n, alert(n), AlertEvent.REMEDIATION, text="approve?", link=f"https://x/{n}") for n in (1, 2)]
    links = [each.message.link for each in decide(asked, surroundings([CHAT]), NOW).messages]
    assert links == ["https://x/1", "https://x/2"]


def test_a_channel_is_told_once_however_often_it_is_named() -> None:
    """A rule that names a channel twice does not page twice."""
    twice: tuple[OutboxEvent, Surroundings] = event(1, alert(1), channels=("chat", "chat")), surroundings([CHAT])
    assert told(decide([twice[0]], twice[1], NOW)) == [("fired", 1, (1,))]
