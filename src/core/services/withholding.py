"""What holds notifications back for a while: silences, and other alerts that inhibit."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from core.domain.alerts import Alert, Inhibition
from core.domain.matchers import label_filter, parse_matchers
from ports.driven.notification_store import Surroundings


class Withholding:
    """The silences and inhibitions of one tenant at one instant, read once for any number of alerts.

    It answers as `Silence.covers` and `InhibitionSpec.inhibits` do, whose cost grows with alerts times alerts.
    """

    def __init__(self, surroundings: Surroundings, now: datetime) -> None:
        self._silences = [
            (silence, label_filter(parse_matchers(silence.matchers)))
            for silence in surroundings.silences
            if silence.starts_at <= now < silence.ends_at
        ]
        firing = [alert.matched_labels for alert in surroundings.firing]
        self._inhibitors = [_Inhibitor(inhibition, firing) for inhibition in surroundings.inhibitions]
        self._reasons: dict[int, str | None] = {}

    def reason(self, alert: Alert) -> str | None:
        """Why nobody is to be told of the alert now; None where nothing is in the way."""
        if alert.id not in self._reasons:
            self._reasons[alert.id] = self._found(alert.matched_labels)
        return self._reasons[alert.id]

    def _found(self, labels: Mapping[str, str]) -> str | None:
        for silence, covers in self._silences:
            if covers(labels):
                return f"silenced by {silence.author}: {silence.reason}"
        for inhibitor in self._inhibitors:
            if inhibitor.inhibits(labels):
                return f"inhibited by {inhibitor.name!r}"
        return None


class _Inhibitor:
    """One inhibition, and the values that the labels which must be equal have on its sources."""

    def __init__(self, inhibition: Inhibition, firing: Sequence[Mapping[str, str]]) -> None:
        self.name = inhibition.spec.name
        self._equal = inhibition.spec.equal
        self._is_source = label_filter(parse_matchers(inhibition.spec.source))
        self._is_target = label_filter(parse_matchers(inhibition.spec.target))
        self._sources = {self._key(labels) for labels in firing if self._is_source(labels)}

    def inhibits(self, labels: Mapping[str, str]) -> bool:
        """Whether another alert holds one of these labels back; one that matches both sides never is."""
        return self._key(labels) in self._sources and self._is_target(labels) and not self._is_source(labels)

    def _key(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self._equal)
