"""Live configuration against a declared baseline."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.detection.drift_config import deviated, deviations
from core.domain.configurations import ConfigBaseline, ConfigKind, Document, StoredBaseline, check_document
from core.domain.drift import DriftSeverity, FoundDrift
from core.domain.recommendations import target_of
from tests.support.cluster_rows import NOON, change

DECLARED = NOON - timedelta(days=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def drift_of(declared: Document, live: Document | None, kind: ConfigKind = ConfigKind.IMAGE) -> FoundDrift | None:
    """What is found of checkout in shop."""
    baseline = ConfigBaseline(cluster_id="prod", namespace="shop", workload="checkout", kind=kind, document=declared)
    before: Document = {"were": "otherwise"}
    state = change(before=before, after=live, kind=kind, ts=NOON)
    return deviated(StoredBaseline(baseline=baseline, declared_by="alice", declared_at=DECLARED), state)


def container(name: str = "app", **parts: Any) -> Document:
    """As sources write them."""
    return {"containers": {name: parts}}


@given(DOCUMENTS, DOCUMENTS)
def test_only_what_is_declared_is_compared(declared: Document, more: Document) -> None:
    """Whatever else there is live; and an empty baseline is met by anything but removal."""
    assert deviations(declared, more | declared, ConfigKind.RUNTIME) == ()
    assert deviations({}, declared, ConfigKind.RUNTIME) == ()
    assert len(deviations(declared, None, ConfigKind.RUNTIME)) == 1


def test_members_are_compared_at_any_depth_and_lists_whole() -> None:
    """An item that nobody declared is a difference, a member is not."""
    declared = {"a": {"b": 1, "c": [1, 2]}, "d": True}
    assert deviations(declared, {"a": {"b": 1.0, "c": [1, 2], "x": 9}, "d": True, "y": 1}, ConfigKind.POLICY) == ()
    found = deviations(declared, {"a": {"b": 2, "c": [1, 2, 3]}}, ConfigKind.POLICY)
    assert [(each.path, each.op) for each in found] == [("/a/b", "replace"), ("/a/c/2", "add"), ("/d", "remove")]


def test_amounts_are_equal_however_they_are_written() -> None:
    """Of resources alone."""
    declared = container(requests={"cpu": "1000m", "memory": "1Gi"}, limits={"cpu": 2})
    live = container(requests={"cpu": "1", "memory": "1073741824"}, limits={"cpu": "2"})
    assert deviations(declared, live, ConfigKind.RESOURCE) == ()
    assert len(deviations(declared, live, ConfigKind.RUNTIME)) == 3
    assert len(deviations({"a": "1", "b": True}, {"a": "2", "b": 1}, ConfigKind.RESOURCE)) == 2


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("…", "4096", True),
        ("…", 4096, True),
        ("postgres://shop:…@db/shop", "postgres://shop:a@db/shop", True),
        ("run --token=… --key=… -v", "run --token=a --key=b -v", True),
        ("postgres://shop:…@db/shop", "postgres://shop:a@db2/shop", False),
        ("a=…&b=…&c", "a=1&b=&c", False),
        ("…", "", False),
        ("…", {"from": "secret db", "key": "password"}, False),
        (["--token", "…"], ["--token"], False),
        ("debug", "info", False),
    ],
)
def test_what_is_masked_is_not_compared(one: Any, other: Any, *, is_same: bool) -> None:
    """On either side; what stands around the mask is, and whether there is anything."""
    for declared, live in ((one, other), (other, one)):
        assert (deviations({"env": declared}, {"env": live}, ConfigKind.RUNTIME) == ()) is is_same


def test_another_image() -> None:
    """Major, since it came, and rolled back to what was declared."""
    found = drift_of(container(image="shop/checkout:v1"), container(image="shop/checkout:v2", tty=True))
    assert found is not None
    assert (found.key, found.drift.severity) == ("config-image/shop/checkout", DriftSeverity.MAJOR)
    assert found.drift.start_ts == NOON
    assert found.drift.message == (
        "image configuration of checkout in shop is not as declared: /containers/app/image is shop/checkout:v2 instead "
        "of shop/checkout:v1, since 2026-01-31T12:00:00Z"
    )
    assert found.drift.evidence["differences"] == [
        {"path": "/containers/app/image", "op": "replace", "declared": "shop/checkout:v1", "live": "shop/checkout:v2"}
    ]
    assert found.recommendation is not None
    target = target_of(found.recommendation.recommendation_json)
    assert (target.container, target.current.image, target.proposed.image) == (
        "app",
        "shop/checkout:v2",
        "shop/checkout:v1",
    )


def test_an_image_may_stand_for_its_container() -> None:
    """As the EKS source writes them; containers that nobody declared are left alone."""
    found = drift_of({"containers": {"app": "v1"}}, {"containers": {"app": "v2", "proxy": "v9"}})
    assert found is not None
    assert found.recommendation is not None
    document = found.recommendation.recommendation_json
    assert (document["container"], document["current"], document["proposed"]) == (
        "app",
        {"image": "v2"},
        {"image": "v1"},
    )


def test_other_requests_are_rolled_back_as_far_as_they_are_known() -> None:
    """What is live and what is missing; what cannot be set is left out."""
    declared = container(requests={"cpu": "1", "memory": "1Gi", "disk": "1Gi"}, limits={"cpu": "2"})
    found = drift_of(declared, container(requests={"cpu": "500m", "memory": "1Gi"}), ConfigKind.RESOURCE)
    assert found is not None
    assert found.recommendation is not None
    document = found.recommendation.recommendation_json
    assert document["current"] == {"cpu_request": "500m"}
    assert document["proposed"] == {"cpu_request": "1", "cpu_limit": "2"}


@pytest.mark.parametrize(
    ("declared", "live", "kind"),
    [
        ({"replicas": 3}, {"replicas": 1}, ConfigKind.RUNTIME),
        ({"containers": {"a": {"image": "x"}, "b": {"image": "x"}}}, {"containers": {}}, ConfigKind.IMAGE),
        ({"containers": [{"name": "a", "image": "x"}]}, {"containers": []}, ConfigKind.IMAGE),
    ],
)
def test_what_no_one_change_can_do_is_not_recommended(declared: Document, live: Document, kind: ConfigKind) -> None:
    """The differences alone are told."""
    found = drift_of(declared, live, kind)
    assert found is not None
    assert found.recommendation is None


def test_a_removed_workload_is_critical() -> None:
    """Since it was, unless it was declared later."""
    found = drift_of(container(image="x"), None)
    assert found is not None
    assert (found.drift.severity, found.recommendation) == (DriftSeverity.CRITICAL, None)
    assert (
        found.drift.message
        == "image configuration of checkout in shop was declared, and was removed at 2026-01-31T12:00:00Z"
    )


def test_evidence_stays_small() -> None:
    """However large and deep the documents are."""
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    declared = {f"{n}{'k' * 900}": ["y" * 900, deep] for n in range(100)}
    found = drift_of(declared, dict.fromkeys(declared, "z" * 2_000), ConfigKind.RUNTIME)
    assert found is not None
    check_document("evidence", found.drift.evidence)
    assert len(found.drift.evidence["differences"]) == 50
    assert found.drift.evidence["differences_in_all"] == 100
    assert found.drift.severity is DriftSeverity.MINOR


def test_evidence_stays_small_however_json_writes_it() -> None:
    """Control characters take six bytes each."""
    names = [f"/{n}" for n in range(50)]
    found = drift_of(dict.fromkeys(names, "\x01" * 800), dict.fromkeys(names, "\x02" * 800), ConfigKind.RUNTIME)
    assert found is not None
    check_document("evidence", found.drift.evidence)
    assert len(found.drift.evidence["differences"]) == 50
