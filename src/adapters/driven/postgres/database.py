"""One pool of connections, and transactions in a role for a tenant.

Every transaction names the role it runs in and, where it acts for a tenant, that tenant: both are set with
``SET LOCAL`` in the same message as BEGIN, so they cost no round trip and cannot outlive the transaction. A frozen
server (stopped process, lost network) answers nothing, not even errors; the watch therefore asks it for a sign of
life, and when that stays out ends all transactions under way and refuses new ones until it comes.
"""

import asyncio
import enum
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeAlias

import asyncpg

from core.domain.errors import TooExpensive, Unavailable

ACQUIRE_TIMEOUT_S: Final = 3.0
"""Longer than any queue of short transactions; a caller is better told to come back."""
PULSE_INTERVAL_S: Final = 1.0
"""How often the watch asks for a sign of life."""
PULSE_TIMEOUT_S: Final = 2.5
"""With the interval and a caller's own work this keeps a 503 within 5 s of a freeze."""
RETRY_AFTER_S: Final = 2.0
"""A restart of PostgreSQL takes about this long."""
LOST_AFTER: Final = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25000",
    "idle_in_transaction_session_timeout": "60000",
}
"""A machine that is gone without a word loses its locks after 25 s; PostgreSQL by itself would wait for two hours. A
process that is frozen loses them after a minute: no transaction of ours thinks for so long between two statements."""

Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy


class Role(enum.Enum):
    """Whose rights a transaction has."""

    READER = "sextant_reader"
    WRITER = "sextant_writer"
    KEEPER = "sextant_keeper"
    OWNER = "none"
    """The login itself, for maintenance that only an owner may do."""


class Database:
    """A pool; open it with `open_database`."""

    def __init__(self, pool: asyncpg.Pool, keepers: asyncpg.Pool) -> None:
        self._pool = pool
        self._keepers = keepers  # sessions that are the keeper from their start
        self._down: str | None = None
        self._under_way: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def transaction(
        self,
        role: Role,
        *,
        tenant_id: int | None = None,
        operator: bool = False,
        snapshot: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Connection]:
        """A transaction that commits on leaving and rolls back on an error.

        `snapshot` makes it REPEATABLE READ READ ONLY. Raises `Unavailable` where the server is away, `TooExpensive`
        where a statement took longer than `timeout_s`.
        """
        if self._down is not None:
            raise Unavailable(self._down, retry_after_s=RETRY_AFTER_S)
        with translated_errors(timeout_s):
            async with asyncio.timeout(None) as deadline:
                self._under_way.add(deadline)
                try:
                    connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
                except BaseException:
                    self._under_way.discard(deadline)
                    raise
                clean = False
                try:
                    await connection.execute(_begin(role, tenant_id, operator, snapshot, timeout_s))
                    try:
                        yield connection
                    except asyncpg.PostgresConnectionError:
                        raise
                    except Exception:
                        await connection.execute("ROLLBACK")
                        clean = True
                        raise
                    await connection.execute("COMMIT")
                    clean = True
                finally:
                    self._under_way.discard(deadline)
                    if not clean:
                        connection.terminate()  # its state is unknown; a cancel request could hang as well
                    await self._pool.release(connection)

    async def keep(self, query: str, *args: object, timeout_s: float) -> None:
        """One statement as the keeper, a transaction of its own: one round trip where `transaction` takes three."""
        if self._down is not None:
            raise Unavailable(self._down, retry_after_s=RETRY_AFTER_S)
        with translated_errors(None):
            async with asyncio.timeout(timeout_s) as deadline:
                self._under_way.add(deadline)
                try:
                    async with self._keepers.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                        try:
                            await connection.execute(query, *args)
                        except BaseException:
                            connection.terminate()  # as above
                            raise
                finally:
                    self._under_way.discard(deadline)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction, in the login's own role, for procedures that commit themselves."""
        with translated_errors(None):
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                try:
                    yield connection
                except BaseException:
                    connection.terminate()  # with whatever lock it still holds
                    raise

    async def watch(self, url: str, *, connect_timeout_s: float, session: Mapping[str, str]) -> None:
        """Asks the server for a sign of life for ever, on a connection of its own; run it as a task.

        That connection also tells the server, by its application_name in `session`, that this process is alive.
        """
        connection: asyncpg.Connection | None = None
        try:
            while True:
                await asyncio.sleep(PULSE_INTERVAL_S)
                try:
                    if connection is None or connection.is_closed():
                        connection = await asyncpg.connect(
                            url, timeout=min(connect_timeout_s, PULSE_TIMEOUT_S), server_settings=dict(session)
                        )
                    async with asyncio.timeout(PULSE_TIMEOUT_S):
                        await connection.execute("SELECT 1")
                except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    self._down = f"the database does not answer ({type(error).__name__})"
                    while self._under_way:
                        deadline = self._under_way.pop()
                        if not deadline.expired():  # one that has passed cannot be moved
                            deadline.reschedule(0)
                    if connection is not None:
                        connection.terminate()
                else:
                    self._down = None
        finally:
            if connection is not None:
                connection.terminate()


@asynccontextmanager
async def open_database(
    url: str, *, pool_size: int, connect_timeout_s: float, application_name: str
) -> AsyncIterator[Database]:
    """Opens a pool of `pool_size` connections; raises `Unavailable` where the server cannot be reached."""
    session = {"application_name": application_name, "timezone": "UTC", **LOST_AFTER}
    with translated_errors(None):
        pool = await asyncpg.create_pool(
            url,
            min_size=0,  # asyncpg's upkeep of idle connections logs a traceback a time while the server is away
            max_size=pool_size,
            timeout=connect_timeout_s,
            reset=_as_it_is,
            server_settings=session,
        )
        keepers = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=1,
            timeout=connect_timeout_s,
            reset=_as_it_is,
            server_settings={**session, "role": Role.KEEPER.value},
        )
    database = Database(pool, keepers)
    watch = asyncio.create_task(database.watch(url, connect_timeout_s=connect_timeout_s, session=session))
    try:
        yield database
    finally:
        watch.cancel()
        keepers.terminate()
        pool.terminate()


async def _as_it_is(_connection: Connection) -> None:
    """Every setting is local to its transaction or meant for good: undoing any would only cost a round trip."""


@contextmanager
def translated_errors(timeout_s: float | None) -> Iterator[None]:
    """Turns the driver's errors into the core's."""
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        if timeout_s is None:
            raise Unavailable(f"the database cancelled a statement: {error}", retry_after_s=RETRY_AFTER_S) from error
        raise TooExpensive(
            f"the query took longer than {timeout_s:g} s; ask for a shorter range or fewer series", limit=timeout_s
        ) from error
    except asyncpg.NumericValueOutOfRangeError as error:
        raise TooExpensive("a sum is beyond what a double can hold; ask for fewer series", limit=1.8e308) from error
    except (
        OSError,
        TimeoutError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # the connection broke while a message was on its way
        asyncpg.PostgresConnectionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.OperatorInterventionError,
        asyncpg.LockNotAvailableError,
        asyncpg.DeadlockDetectedError,
        asyncpg.SerializationError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.InvalidCachedStatementError,  # the schema was migrated under an open connection
    ) as error:
        raise Unavailable(f"the database is not available: {_said(error)}", retry_after_s=RETRY_AFTER_S) from error


def _said(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _begin(role: Role, tenant_id: int | None, operator: bool, snapshot: bool, timeout_s: float | None) -> str:
    """BEGIN with its settings as one message; all values are enums, integers or fixed words."""
    parts = ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if snapshot else "BEGIN"]
    parts.append(f"SET LOCAL ROLE {role.value}")
    if tenant_id is not None:
        parts.append(f"SET LOCAL sextant.tenant_id = {tenant_id:d}")
    if operator:
        parts.append("SET LOCAL sextant.operator = 'on'")
    if timeout_s is not None:
        parts.append(f"SET LOCAL statement_timeout = {int(timeout_s * 1000):d}")
    if snapshot:
        # A plan for any values, which PostgreSQL keeps from the sixth execution on, misjudges arrays of series.
        parts.append("SET LOCAL jit = off; SET LOCAL plan_cache_mode = force_custom_plan")
    return "; ".join(parts)
