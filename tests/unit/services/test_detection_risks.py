"""The labels and numbers that risks are published with."""

from core.domain.anomalies import Anomaly
from core.domain.events import fingerprint_of, host_of, is_synthetic, service_of
from core.domain.series import LABEL_VALUE_BYTES_MAX, LABELS_MAX, series_identity
from core.services.detection_risks import published_risks, risk_labels
from ports.driven.detection_store import PublishedRisk
from tests.support.detection_runs import anomaly


def of(labels: dict[str, str], metric: str = "cpu", risk: float = 0.9) -> Anomaly:
    """An anomaly of a series with these labels."""
    host, service = host_of(labels), service_of(labels)
    return anomaly(
        metric=metric,
        labels=labels,
        host=host,
        service=service,
        fingerprint=fingerprint_of(host, service, metric),
        synthetic=is_synthetic(labels),
        risk=risk,
    )


def test_what_names_a_risk() -> None:
    """Fingerprint and metric; host and service where there are any, whatever label they come from."""
    assert risk_labels([of({})]) == {"fingerprint": "cpu", "metric": "cpu"}
    assert risk_labels([of({"instance": "a", "service": "shop"})]) == {
        "fingerprint": "a:cpu",
        "metric": "cpu",
        "host": "a",
        "instance": "a",
        "service": "shop",
    }


def test_labels_of_the_series_called_like_ours() -> None:
    """They are exported, as often as it takes to be free."""
    labels = {"host": "a", "metric": "x", "fingerprint": "y", "exported_metric": "z", "exported_exported_metric": "w"}
    assert risk_labels([of(labels)]) == {
        "fingerprint": "a:cpu",
        "metric": "cpu",
        "host": "a",
        "exported_fingerprint": "y",
        "exported_metric": "z",
        "exported_exported_metric": "w",
        "exported_exported_exported_metric": "x",
    }


def test_only_what_all_series_share() -> None:
    """A risk is synthetic, and of a host or service, only where all of them are."""
    shared = risk_labels(
        [
            of({"host": "a", "service": "shop", "disk": "x", "synthetic": "true"}),
            of({"host": "a", "service": "till", "disk": "x"}),
        ]
    )
    assert shared == {"fingerprint": "a:cpu", "metric": "cpu", "host": "a", "disk": "x"}
    assert risk_labels([of({"host": "a", "synthetic": "true"})])["synthetic"] == "true"


def test_labels_can_always_be_stored() -> None:
    """However many labels a series has, and however long its host is called; long fingerprints stay apart."""
    longest = "é" * (LABEL_VALUE_BYTES_MAX // 2)
    labels = [
        risk_labels([of({"instance": longest, **{f"label_{n}": "x" for n in range(LABELS_MAX - 1)}}, metric=metric)])
        for metric in ("cpu_1", "cpu_2")
    ]
    identities = [series_identity("risk", one, None) for one in labels]
    assert [len(one) for one in labels] == [LABELS_MAX, LABELS_MAX]
    assert labels[0]["fingerprint"] != labels[1]["fingerprint"]
    assert labels[0]["fingerprint"].startswith("é" * 1_000)
    assert identities[0] != identities[1]


def test_the_highest_risk_with_the_labels_it_had() -> None:
    """One risk a fingerprint; what was published before keeps its labels."""
    before = PublishedRisk(fingerprint="a:cpu", labels={"was": "so"}, risk=0.81)
    alarming = [
        of({"host": "a"}, risk=0.9),
        of({"host": "b"}, risk=0.85),
        of({"host": "a"}, risk=0.95),
        of({"host": "b"}, risk=0.82),
    ]
    assert published_risks(alarming, {"a:cpu": before}) == [
        PublishedRisk(fingerprint="a:cpu", labels={"was": "so"}, risk=0.95),
        PublishedRisk(fingerprint="b:cpu", labels=risk_labels([alarming[1]]), risk=0.85),
    ]
