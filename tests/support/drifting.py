"""Looking for drift over a store, in tests."""

from adapters.driven.memory.clock import FakeClock
from adapters.runtime.pause import AsyncioPause
from core.services.drift_looking import DriftLooking
from core.services.policies import Policies
from core.services.telemetry_reading import TelemetryReading
from tests.support.storages import LIMITS, Storage


def reading_over(storage: Storage, clock: FakeClock) -> TelemetryReading:
    """Over a store, with its tenants' limits and retention."""
    return TelemetryReading(storage.reader, Policies(storage.tenants, LIMITS, clock), clock)


def looking_over(storage: Storage, clock: FakeClock) -> DriftLooking:
    """Over all of a store."""
    reading = reading_over(storage, clock)
    return DriftLooking(storage.drift, storage.capacity, storage.configurations, reading, clock, AsyncioPause())
