"""No route without a place in the tenant-isolation matrix."""

from typing import Any, cast

from adapters.driving.http.app import build_app
from adapters.runtime.clock import SystemClock
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from ports.driving.services import Services
from tests.integration.isolation_matrix import MATRIX, routes_of


def test_every_route_is_in_the_matrix_and_nothing_else() -> None:
    """Whoever adds a route says in the matrix what it is to another tenant, and the tests over it run."""
    services = Services(*[cast("Any", None)] * len(Services.__struct_fields__))
    app = build_app(services, Settings(), PrometheusTelemetry(), SystemClock())
    assert routes_of(app) == set(MATRIX)
