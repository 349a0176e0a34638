"""The state machine runs on stores of its own."""

from tests.support.store_fixtures import store

__all__ = ["store"]
