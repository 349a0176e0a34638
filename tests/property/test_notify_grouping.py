"""Whatever waits and whatever surrounds it: nobody is told what they must not be, and nothing is forgotten."""

from datetime import timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.domain.alerts import Alert, EpisodeState, Inhibition, InhibitionSpec, Silence
from core.domain.notifications import ALERTS_PER_MESSAGE_MAX, AlertEvent, Channel, PagerDutyConfig
from core.domain.rules import Severity
from core.services.notify_grouping import FIRING, FOLLOWING, decide
from core.services.withholding import Withholding
from ports.driven.notification_store import OutboxEvent, Surroundings
from tests.support.waiting_events import EMAIL, NOW, PAGER, SLACK, WEBHOOK, alert, channel, event, surroundings

ALERTS = 5
HOSTS = ("a", "b")
matchers = st.sampled_from(["host=a", "host!=a", "host=~.*", "alertname=busy", "alertname=full", "severity=critical"])
instants = st.integers(-3, 3).map(lambda hours: NOW + timedelta(hours=hours))
kinds = st.sampled_from([kind for kind in AlertEvent if kind is not AlertEvent.TEST])


@st.composite
def alerts(draw: st.DrawFn, alert_id: int) -> Alert:
    """One that may have resolved, been acknowledged, or be nobody's business."""
    state = draw(st.sampled_from([EpisodeState.FIRING, EpisodeState.RESOLVED]))
    rule_id = draw(st.integers(1, 2))
    seen = draw(st.one_of(st.none(), instants))
    return alert(
        alert_id,
        rule_id=rule_id,
        rule=("busy", "full")[rule_id - 1],
        labels={"host": draw(st.sampled_from(HOSTS))},
        state=state,
        severity=draw(st.sampled_from(Severity)),
        shadow=draw(st.integers(0, 9)) == 0,
        announced=draw(st.integers(0, 9)) > 0,
        acknowledged_at=seen,
        acknowledged_by=None if seen is None else "key:1",
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[OutboxEvent], Surroundings]:
    """Events of a few alerts, in order, with channels, silences, inhibitions and what was told before."""
    about = [draw(alerts(alert_id)) for alert_id in range(1, ALERTS + 1)]
    names = st.one_of(st.none(), st.lists(st.sampled_from(["chat", "pager", "hook", "mail", "gone"])).map(tuple))
    events = [
        event(number, draw(st.sampled_from(about)), draw(kinds), channels=draw(names), created_at=draw(instants))
        for number in range(1, draw(st.integers(0, 12)) + 1)
    ]
    channels = [
        channel(
            number,
            msgspec.structs.replace(config, enabled=draw(st.integers(0, 4)) > 0, default=draw(st.booleans())),
            disabled_reason=draw(st.sampled_from([None, None, None, "410"])),
        )
        for number, config in enumerate([SLACK, PAGER, WEBHOOK, EMAIL], start=1)
    ]
    return events, surroundings(
        channels,
        silences=[draw(_silences(number)) for number in range(draw(st.integers(0, 2)))],
        inhibitions=[draw(_inhibitions(number)) for number in range(draw(st.integers(0, 2)))],
        firing=[one for one in about if one.state is EpisodeState.FIRING],
        told=draw(st.sets(st.tuples(st.integers(1, ALERTS), st.integers(1, 4)))),
    )


@st.composite
def _silences(draw: st.DrawFn, number: int) -> Silence:
    starts_at = draw(instants)
    return Silence(
        id=number,
        matchers=tuple(draw(st.lists(matchers, min_size=1, max_size=2))),
        starts_at=starts_at,
        ends_at=starts_at + timedelta(hours=draw(st.integers(1, 3))),
        author="key:1",
        reason="quiet",
        created_at=NOW,
    )


@st.composite
def _inhibitions(draw: st.DrawFn, number: int) -> Inhibition:
    spec = InhibitionSpec(
        name=f"i{number}",
        source=(draw(matchers),),
        target=(draw(matchers),),
        equal=tuple(draw(st.sets(st.sampled_from(["host", "metric"])))),
    )
    return Inhibition(id=number, spec=spec, created_at=NOW)


def usable(one: Channel) -> bool:
    """Whether anything may be sent through it."""
    return one.config.enabled and one.disabled_reason is None


@given(worlds())
def test_every_event_ends_in_one_way(world: tuple[list[OutboxEvent], Surroundings]) -> None:
    """Each is told, or suppressed for a reason, or kept; never two of these."""
    events, around = world
    decided = decide(events, around, NOW)
    suppressed = [event_id for event_id, _ in decided.suppressed]
    assert len({*suppressed, *decided.kept}) == len(suppressed) + len(decided.kept)
    assert all(reason for _, reason in decided.suppressed)
    done = {*suppressed, *decided.kept}
    told = {
        (alert_id, each.message.event in FIRING or each.message.event)
        for each in decided.messages
        for alert_id in each.alert_ids
    }
    for one in events:
        key = (one.alert.id, one.event in FIRING or one.event)
        assert one.id in done or key in told
    explained = {(one.alert.id, one.event in FIRING or one.event) for one in events if one.id not in done}
    assert told == explained


@given(worlds())
def test_nobody_hears_of_an_end_without_the_beginning(world: tuple[list[OutboxEvent], Surroundings]) -> None:
    """And nobody hears the beginning twice."""
    events, around = world
    for each in decide(events, around, NOW).messages:
        for alert_id in each.alert_ids:
            heard = (alert_id, each.channel_id) in around.told
            if each.message.event in FOLLOWING or each.message.event is AlertEvent.ESCALATED:
                assert heard
            elif each.message.event is AlertEvent.FIRED:
                assert not heard


@given(worlds())
def test_nothing_withheld_is_sent(world: tuple[list[OutboxEvent], Surroundings]) -> None:
    """Not what a silence or an inhibition covers now, not through a channel that is disabled, not in shadow."""
    events, around = world
    usable_ids = {one.id for one in around.channels if usable(one)}
    decided = decide(events, around, NOW)
    for each in decided.messages:
        assert each.channel_id in usable_ids
        for one in each.message.alerts:
            assert not any(silence.covers(one, NOW) for silence in around.silences)
            assert not any(inhibition.spec.inhibits(one, around.firing) for inhibition in around.inhibitions)
            assert one.announced
            assert not one.shadow
            assert each.message.event not in FIRING or one.state is EpisodeState.FIRING
    kept = [one for one in events if one.id in decided.kept]
    assert all(one.event in FOLLOWING or one.alert.state is EpisodeState.FIRING for one in kept)


@given(worlds())
def test_messages_are_of_one_piece(world: tuple[list[OutboxEvent], Surroundings]) -> None:
    """One rule and event, each alert once, ids unique and the same on every run."""
    events, around = world
    decided = decide(events, around, NOW)
    assert decided == decide(events, around, NOW)
    messages = [each.message for each in decided.messages]
    assert len({one.id for one in messages}) == len(messages)
    pagers = {one.id for one in around.channels if isinstance(one.config, PagerDutyConfig)}
    for each in decided.messages:
        assert {one.rule for one in each.message.alerts} == {each.message.rule}
        assert len(set(each.alert_ids)) == len(each.alert_ids) == each.message.alerts_total
        assert [one.id for one in each.message.alerts] == list(each.alert_ids[:ALERTS_PER_MESSAGE_MAX])
        assert each.channel_id not in pagers or len(each.alert_ids) == 1


@given(worlds())
def test_withholding_is_what_silences_and_inhibitions_say(world: tuple[list[OutboxEvent], Surroundings]) -> None:
    """The quick answer for many alerts is the plain one for each."""
    events, around = world
    withholding = Withholding(around, NOW)
    for one in events:
        covered = any(silence.covers(one.alert, NOW) for silence in around.silences)
        inhibited = any(inhibition.spec.inhibits(one.alert, around.firing) for inhibition in around.inhibitions)
        assert (withholding.reason(one.alert) is not None) is (covered or inhibited)
