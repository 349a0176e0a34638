"""The state machine runs on stores of its own."""

from hypothesis import HealthCheck, settings

from tests.support.store_fixtures import store

__all__ = ["store"]

# How long an example takes says nothing on a busy machine.
settings.register_profile("any pace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any pace")
