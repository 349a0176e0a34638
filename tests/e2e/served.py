"""Doubles that run on asyncio, in a thread of their own, for tests that run programs against them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")

START_TIMEOUT_S = 10.0


@contextmanager
def in_thread(served: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What the context gives, open in an event loop of its own while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="double", daemon=True)
    thread.start()
    try:
        opened = asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result(START_TIMEOUT_S)
        try:
            yield opened
        finally:
            asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result(START_TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
