"""Requests that follow from use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.detection.right_sizing import CPU_RULE, MEMORY_RULE, Sizing, monthly_savings, sized, verdict_of
from core.domain.resource_prices import ResourcePrices

MIB = 1 << 20
NOTHING = Sizing(request=None, observed=None, proposed=None)


def test_a_proposal_is_a_percentile_with_room_in_whole_steps() -> None:
    """numpy's percentile of what is there; 10 millicores or 4 MiB a step."""
    rng = np.random.default_rng(3)
    use = rng.gamma(2.0, 0.1, 500)
    use[::7] = np.nan
    cpu = sized(CPU_RULE, use, 1.0)
    assert cpu.observed == np.percentile(use[~np.isnan(use)], 95.0)
    assert cpu.observed is not None
    assert cpu.proposed == pytest.approx(np.ceil(cpu.observed * 115.0) / 100.0, abs=1e-12)
    memory = sized(MEMORY_RULE, np.full(10, 100.0 * MIB), None)
    assert (memory.observed, memory.proposed) == (100.0 * MIB, 120.0 * MIB)


def test_a_whole_number_of_steps_stays_what_it_is() -> None:
    """0.2 × 1.15 is 0.22999… or 0.23000…1 in floats; it is 230 millicores."""
    assert sized(CPU_RULE, np.array([0.2]), None).proposed == 0.23


def test_no_request_is_next_to_nothing() -> None:
    """An idle pod still has to start."""
    assert sized(CPU_RULE, np.zeros(5), None).proposed == 0.01
    assert sized(MEMORY_RULE, np.zeros(5), None).proposed == 16.0 * MIB


def test_without_use_there_is_no_proposal() -> None:
    """No silent 0."""
    assert sized(CPU_RULE, np.array([np.nan, np.nan]), 1.0) == Sizing(request=1.0, observed=None, proposed=None)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_proposals_are_finite_and_no_smaller_than_use(use: list[float]) -> None:
    """Whatever was sent as use."""
    for rule in (CPU_RULE, MEMORY_RULE):
        found = sized(rule, np.array(use), None)
        assert found.observed is not None
        assert found.proposed is not None
        assert found.observed <= found.proposed < 2e18


@pytest.mark.parametrize(
    ("cpu", "memory", "verdict"),
    [
        (1.0, 1.0, "fits"),
        (1.24, 0.9, "fits"),
        (1.25, 1.0, "oversized"),
        (4.0, 0.89, "undersized"),
        (None, 1.25, "oversized"),
        (0.5, None, "undersized"),
        (None, None, "no request"),
    ],
)
def test_verdicts_have_bands(cpu: float | None, memory: float | None, verdict: str) -> None:
    """Too small comes first: it hurts, while too large only costs."""
    sizings = (Sizing(request=request, observed=0.8, proposed=1.0) for request in (cpu, memory))
    assert verdict_of(*sizings) == verdict


def test_use_is_no_request() -> None:
    """Nor is a request without use anything to judge."""
    assert verdict_of(NOTHING, Sizing(request=1.0, observed=None, proposed=None)) == "no request"


def test_savings_are_what_is_asked_for_less() -> None:
    """Of each pod, at the cluster's prices; a resource of which something is not known saves nothing."""
    prices = ResourcePrices(cpu_core_usd=20.0, memory_byte_usd=1e-9)
    cpu = Sizing(request=2.0, observed=0.4, proposed=0.5)
    memory = Sizing(request=1e9, observed=1e9, proposed=2e9)
    assert monthly_savings(cpu, memory, prices, 3.0) == pytest.approx(3.0 * (1.5 * 20.0 - 1.0))
    assert monthly_savings(cpu, NOTHING, prices, 3.0) == pytest.approx(90.0)
    assert monthly_savings(NOTHING, NOTHING, prices, 3.0) is None
    assert monthly_savings(cpu, memory, None, 3.0) is None
    assert monthly_savings(cpu, memory, ResourcePrices(cpu_core_usd=float("inf"), memory_byte_usd=0.0), 3.0) is None
