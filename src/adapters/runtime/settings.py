"""Everything that can be set, as one frozen tree that is read once from ``SEXTANT_<SECTION>_<NAME>``.

A name is the field's without its unit: `future_skew_s` of `ingest` is ``SEXTANT_INGEST_FUTURE_SKEW=10m``.
Secrets may come from a file instead, ``SEXTANT_DATABASE_URL_FILE=/run/secrets/url``, and are in no repr.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adapters.runtime.environment import Section, SettingsError, read_sections, settings_of
from adapters.runtime.setting_kinds import (
    Address,
    Commands,
    DatabaseUrl,
    Directory,
    Networks,
    OptionalFile,
    Seconds,
    Secret,
    Size,
    TenantNames,
    WebUrl,
)
from adapters.runtime.vendors import EKS_CLUSTER_DEFAULT, EKS_CLUSTER_ID, Vendors, read_vendors
from core.domain.tenants import OPERATOR_TENANT

__all__ = ["Settings", "SettingsError", "load_settings"]

DATA_DIR_DEFAULT = "~/.local/share/sextant"
SPOOL_DIR_DEFAULT = "~/.local/state/sextant/spool"
MIB = 1 << 20


class DatabaseSettings(Section, frozen=True, kw_only=True):
    """Where samples are kept."""

    url: Annotated[
        DatabaseUrl,
        Meta(description="The PostgreSQL or TimescaleDB to use; without it Sextant runs its own PostgreSQL."),
    ] = None
    pool_size: Annotated[int, Meta(ge=2, le=200, description="Connections each server process may open.")] = 10
    connect_timeout_s: Annotated[
        Seconds, Meta(ge=0.1, le=60, description="How long connecting to the database may take.")
    ] = 4.0


class ServerSettings(Section, frozen=True, kw_only=True):
    """The HTTP server."""

    host: Annotated[
        str,
        Meta(min_length=1, description="The address to listen on; 0.0.0.0 or :: for all."),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535, description="The port to listen on.")] = 8_000
    workers: Annotated[int, Meta(ge=1, le=64, description="Server processes; each uses up to one core.")] = 1
    data_dir: Annotated[
        Directory,
        Meta(description="Where the embedded PostgreSQL and Temporal, admin.key and secrets.key are kept."),
    ] = msgspec.field(default_factory=lambda: Path(DATA_DIR_DEFAULT).expanduser())
    backlog: Annotated[
        int, Meta(ge=128, le=65_535, description="Connections that may wait to be accepted, per process.")
    ] = 1_024
    requests_max: Annotated[
        int, Meta(ge=1, le=65_535, description="Requests in progress at once, per process; more wait unread.")
    ] = 512
    header_timeout_s: Annotated[
        Seconds, Meta(ge=0.1, le=300, description="How long a request's headers may take to arrive.")
    ] = 10.0
    body_timeout_s: Annotated[
        Seconds, Meta(ge=0.1, le=3_600, description="How long a request's body may take to arrive.")
    ] = 30.0
    body_bytes_max: Annotated[
        Size, Meta(ge=1_024, le=1_024 * MIB, description="The largest request body, as it is sent.")
    ] = 8 * MIB
    inflated_bytes_max: Annotated[
        Size, Meta(ge=1_024, le=1_024 * MIB, description="The largest request body once decompressed.")
    ] = 32 * MIB
    drain_timeout_s: Annotated[
        Seconds, Meta(ge=1, le=300, description="How long requests in progress may go on after SIGTERM.")
    ] = 7.0


class IngestSettings(Section, frozen=True, kw_only=True):
    """Taking metrics in. The limits are a tenant's unless it has its own."""

    future_skew_s: Annotated[
        Seconds,
        Meta(ge=0.001, le=86_400, description="How far a timestamp may be ahead of the server's clock."),
    ] = 600.0
    samples_per_s: Annotated[
        float, Meta(gt=0, le=1e9, description="Samples a second that a tenant may send, per process.")
    ] = 2_000_000.0
    samples_burst: Annotated[
        float,
        Meta(gt=0, le=1e9, description="Samples that a tenant may send at once, per process."),
    ] = 4_000_000.0
    series_max: Annotated[int, Meta(ge=1, le=2**31 - 1, description="Active series a tenant may have.")] = 1_000_000
    unsettled_points_max: Annotated[
        int,
        Meta(
            ge=100_000,
            le=10**9,
            description="Samples that may wait to be settled; then ingest gets 503.",
        ),
    ] = 8_000_000
    gather_points_max: Annotated[
        int, Meta(ge=1_000, le=1_000_000, description="Samples that share one commit at most.")
    ] = 50_000
    cache_entries_max: Annotated[
        int,
        Meta(ge=1_000, le=10**8, description="Series that each process remembers."),
    ] = 200_000


class QuerySettings(Section, frozen=True, kw_only=True):
    """Answering queries. The limits are a tenant's unless it has its own."""

    points_max: Annotated[int, Meta(ge=1_000, le=10**12, description="Samples that one query may read.")] = 20_000_000
    timeout_s: Annotated[Seconds, Meta(ge=0.1, le=3_600, description="How long one query may take.")] = 30.0


class KeeperSettings(Section, frozen=True, kw_only=True):
    """Background work: settling, compression, retention."""

    settle_points: Annotated[int, Meta(ge=1_000, le=10**8, description="Settle once this many samples wait.")] = (
        1_000_000
    )
    settle_age_s: Annotated[
        Seconds, Meta(ge=0.1, le=86_400, description="Settle once the oldest waiting sample is this old.")
    ] = 300.0
    compress_after_days: Annotated[
        int, Meta(ge=1, le=36_500, description="Age in days at which samples are compressed (TimescaleDB).")
    ] = 7


class AlertsSettings(Section, frozen=True, kw_only=True):
    """Evaluating rules and telling people."""

    poll_s: Annotated[
        Seconds, Meta(ge=0.01, le=60, description="How often new samples are looked for, to be compared with rules.")
    ] = 0.1
    fresh_s: Annotated[
        Seconds,
        Meta(ge=1, le=86_400, description="Nobody is told of an alert whose sample is older than this by then."),
    ] = 600.0
    group_wait_s: Annotated[
        Seconds, Meta(ge=0.001, le=300, description="How long alerts of one rule wait for others, to be told together.")
    ] = 0.5
    public_url: Annotated[
        WebUrl, Meta(description="Where people reach this server, for the links in notifications.")
    ] = None


class DetectionSettings(Section, frozen=True, kw_only=True):
    """Scheduled detection and incidents."""

    enabled: Annotated[
        bool,
        Meta(description="Run scheduled detection and make incidents here; several servers share the work."),
    ] = True


class CollectionSettings(Section, frozen=True, kw_only=True):
    """Collecting from metric sources."""

    enabled: Annotated[bool, Meta(description="Collect from metric sources here; several servers share the work.")] = (
        True
    )
    concurrency: Annotated[
        int, Meta(ge=1, le=32, description="Runs that collect at once, per process; of one tenant up to three.")
    ] = 6
    keys: Annotated[
        Secret,
        Meta(
            description="Keys that encrypt sources' credentials, 32 characters or more each, with commas between: the "
            "first encrypts, all decrypt. Without it one is made and kept in the data directory."
        ),
    ] = None


class DriftSettings(Section, frozen=True, kw_only=True):
    """Looking for drift; done where detection is."""

    interval_s: Annotated[
        Seconds, Meta(ge=60, le=86_400, description="How often each tenant's clusters are looked at for drift.")
    ] = 900.0


class OutboundSettings(Section, frozen=True, kw_only=True):
    """Requests to addresses that tenants name: notifications and HTTP actions."""

    allow: Annotated[
        Networks, Meta(description="Networks that are let through although not public, also by plain http.")
    ] = ()
    timeout_s: Annotated[Seconds, Meta(ge=0.1, le=300, description="How long one request may take.")] = 10.0
    response_bytes_max: Annotated[
        Size, Meta(ge=1_024, le=64 * MIB, description="The largest response that is read.")
    ] = 256 << 10


class TemporalSettings(Section, frozen=True, kw_only=True):
    """Temporal, which runs remediation."""

    address: Annotated[
        Address, Meta(description="The Temporal to use; without it `sextant serve` runs a development server.")
    ] = None
    namespace: Annotated[str, Meta(min_length=1, description="The namespace, which must exist.")] = "default"
    task_queue: Annotated[str, Meta(min_length=1, description="The task queue that servers and workers share.")] = (
        "sextant-remediation"
    )
    tls: Annotated[bool, Meta(description="Connect with TLS.")] = False
    api_key: Annotated[Secret, Meta(description="An API key for Temporal; it needs TLS.")] = None


class WorkerSettings(Section, frozen=True, kw_only=True):
    """Carrying out remediations, and what they may use on the worker's machine."""

    enabled: Annotated[
        bool, Meta(description="Carry out remediations here; `sextant worker` does so whatever this says.")
    ] = True
    concurrency: Annotated[int, Meta(ge=1, le=1_000, description="Actions that run at once, per process.")] = 20
    commands: Annotated[
        Commands, Meta(description="Programs that remediation may run, by the names that policies use.")
    ] = msgspec.field(default_factory=dict)
    kubeconfig: Annotated[
        OptionalFile, Meta(description="The kubeconfig file whose current context remediation works on.")
    ] = None
    kubernetes_in_cluster: Annotated[
        bool, Meta(description="Work on the cluster that this worker runs in, as its service account.")
    ] = False
    cluster_id: Annotated[
        str,
        Meta(
            min_length=1,
            description="The `cluster_id` of that cluster; recommendations for others are refused. "
            f"{EKS_CLUSTER_ID} says it too, unless this does.",
        ),
    ] = EKS_CLUSTER_DEFAULT
    tenants: Annotated[
        TenantNames,
        Meta(
            description="Tenants whose policies may run commands and change the cluster, and whose sources may use "
            "the server's own credentials, cluster and network."
        ),
    ] = (OPERATOR_TENANT,)

    @property
    def has_cluster(self) -> bool:
        """Whether this worker can change one."""
        return self.kubeconfig is not None or self.kubernetes_in_cluster


class LogSettings(Section, frozen=True, kw_only=True):
    """Sextant's log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important events to log.")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="`auto` is readable on a terminal and one JSON object a line elsewhere."),
    ] = "auto"


class BootstrapSettings(Section, frozen=True, kw_only=True):
    """The first start."""

    api_key: Annotated[
        Secret,
        Meta(description="The first admin key, 16 to 256 characters, not a random one."),
    ] = None


class AgentSettings(Section, frozen=True, kw_only=True):
    """The commands that send to a server: `sextant agent`, and the first two for `sextant replay`."""

    url: Annotated[str, Meta(min_length=1, description="The server to send to.")] = "http://127.0.0.1:8000"
    key: Annotated[Secret, Meta(description="An API key with the scope `ingest`.")] = None
    interval_s: Annotated[Seconds, Meta(ge=0.1, le=3_600, description="Time between two samples of the machine.")] = (
        10.0
    )
    spool_dir: Annotated[Directory, Meta(description="Where samples wait until the server has them.")] = msgspec.field(
        default_factory=lambda: Path(SPOOL_DIR_DEFAULT).expanduser()
    )
    spool_size_bytes: Annotated[
        Size,
        Meta(ge=64 << 10, le=1 << 40, description="Disk that waiting samples may take; then the oldest go."),
    ] = 256 * MIB


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings; each part of the program receives its own section."""

    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = msgspec.field(default_factory=ServerSettings)
    ingest: IngestSettings = IngestSettings()
    query: QuerySettings = QuerySettings()
    keeper: KeeperSettings = KeeperSettings()
    alerts: AlertsSettings = AlertsSettings()
    detection: DetectionSettings = DetectionSettings()
    collection: CollectionSettings = CollectionSettings()
    drift: DriftSettings = DriftSettings()
    outbound: OutboundSettings = OutboundSettings()
    temporal: TemporalSettings = TemporalSettings()
    worker: WorkerSettings = msgspec.field(default_factory=WorkerSettings)
    log: LogSettings = LogSettings()
    bootstrap: BootstrapSettings = BootstrapSettings()
    agent: AgentSettings = msgspec.field(default_factory=AgentSettings)
    vendors: Vendors = Vendors()
    """What the vendors' own variables configure."""


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` names, the others at their defaults.

    Raises `SettingsError` naming all that are wrong. An empty value, as compose files give, counts as absent.
    """
    found = read_sections(settings_of(Settings), environ)
    server = found.setdefault("server", {})
    if "data_dir" not in server and environ.get("XDG_DATA_HOME"):
        server["data_dir"] = Path(environ["XDG_DATA_HOME"], "sextant")
    if environ.get(EKS_CLUSTER_ID):
        found.setdefault("worker", {}).setdefault("cluster_id", environ[EKS_CLUSTER_ID])
    temporal = TemporalSettings(**found.get("temporal", {}))
    if temporal.api_key is not None and not temporal.tls:
        raise SettingsError(["SEXTANT_TEMPORAL_API_KEY would travel in the clear; set SEXTANT_TEMPORAL_TLS=true"])
    return Settings(
        database=DatabaseSettings(**found.get("database", {})),
        server=ServerSettings(**server),
        ingest=IngestSettings(**found.get("ingest", {})),
        query=QuerySettings(**found.get("query", {})),
        keeper=KeeperSettings(**found.get("keeper", {})),
        alerts=AlertsSettings(**found.get("alerts", {})),
        detection=DetectionSettings(**found.get("detection", {})),
        collection=CollectionSettings(**found.get("collection", {})),
        drift=DriftSettings(**found.get("drift", {})),
        outbound=OutboundSettings(**found.get("outbound", {})),
        temporal=temporal,
        worker=WorkerSettings(**found.get("worker", {})),
        log=LogSettings(**found.get("log", {})),
        bootstrap=BootstrapSettings(**found.get("bootstrap", {})),
        agent=AgentSettings(**found.get("agent", {})),
        vendors=read_vendors(environ),
    )
