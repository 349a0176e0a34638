"""`sextant collect`: pulls metrics from where they already are, through a running server."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from adapters.driving.cli.api import HERE, Api, RefusedError, Server, with_api
from adapters.driving.cli.client import ConfigurationError
from adapters.driving.cli.collect_progress import CollectProgress, NobodyCollectsError
from adapters.driving.cli.collect_start import Collected, start
from adapters.driving.cli.collect_summary import write_summary
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import present
from adapters.driving.cli.output import CommandError, write_error, write_json
from core.domain.collection import (
    COLLECTION_ENDED,
    CollectionRun,
    CollectionRunDetail,
    CollectionState,
)
from core.domain.times import parse_duration

RUNS_PATH: Final = "/api/v1/sources/runs"
POLL_S: Final = 0.1
POLL_S_MAX: Final = 1.0
POLL_GROWTH: Final = 1.2
"""Short runs are seen to end at once, long ones cost the server a request a second."""
Kind = Literal["datadog", "cloudwatch", "newrelic", "hawkeye", "eks", "prometheus", "synthetic", "all"]
SINCE_HELP: Final = "How much of the past, such as 24h. Default: from where the last run ended, or what suits the kind."


def collect(
    source: Annotated[Kind, Parameter(name="SOURCE", negative="")],
    /,
    *,
    since: Annotated[str | None, Parameter(help=SINCE_HELP)] = None,
    cluster: Annotated[str | None, Parameter(help="Only this cluster; for eks and synthetic its name.")] = None,
    namespace: Annotated[
        tuple[str, ...], Parameter(help="Only this namespace; repeatable.", negative="", show_default=False)
    ] = (),
    query: Annotated[
        tuple[str, ...],
        Parameter(
            help="What to ask for instead of the usual: Datadog's query language; of a Prometheus a selector, or "
            "name=promql. Repeatable.",
            negative="",
            show_default=False,
        ),
    ] = (),
    instances: Annotated[
        int | None, Parameter(help="How many made-up instances (synthetic).", validator=Number(gte=1, lte=200))
    ] = None,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Collect metrics from a vendor, a cluster or a Prometheus, once.

    What to ask and the credentials come from this machine's environment, in the
    vendors' own variables, and are forgotten afterwards; where there are none,
    the server uses the sources it knows. `all` does both for every kind. To
    collect for good: `sextant sources add`. Collecting a range again adds
    nothing twice, and takes in what the vendor has revised.

    datadog     DATADOG_API_KEY, DATADOG_APP_KEY, DATADOG_SITE
    cloudwatch  AWS_REGION, AWS_INSTANCE_IDS, AWS's usual credentials
    newrelic    NEWRELIC_API_KEY, NEWRELIC_ACCOUNT_ID, NEWRELIC_REGION
    hawkeye     HAWKEYE_BASE_URL, HAWKEYE_API_KEY
    prometheus  PROMETHEUS_URL
    eks         the server's own EKS_IN_CLUSTER or EKS_KUBECONFIG_PATH
    synthetic   nothing: made-up instances and a cluster, for a first look

    Needs a key with the scope ingest.

    For example:

        sextant collect synthetic
        sextant collect datadog --since 6h --query 'avg:system.load.5{*} by {host}'
        sextant collect prometheus --query 'load=avg(node_load1)'

    Exit codes: 0 done; 1 something could not be collected, or there was nothing,
    the reason is printed; 2 wrong usage, credentials missing here, key or URL.
    """

    async def work(api: Api) -> int:
        request = _request(since, cluster, namespace)
        started = await start(api, source, request, query, instances)
        with CollectProgress([run.run for run in started.runs], quiet=json) as progress:
            runs = await _followed(api, started.runs, progress)
        if json:
            write_json(Collected(runs=runs, errors=started.errors))
        else:
            write_summary(runs, started.errors, origins=started.origins)
        return 1 if started.errors or any(_is_wrong(run.run) for run in runs) else 0

    return with_api(server, work)


def _request(since: str | None, cluster: str | None, namespaces: Sequence[str]) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if since is not None:
        request["start_time"] = present() - timedelta(microseconds=parse_duration(since, "--since"))
    if cluster is not None:
        request["cluster_id"] = cluster
    if namespaces:
        request["namespaces"] = namespaces
    return request


async def _followed(
    api: Api, runs: Sequence[CollectionRunDetail], progress: CollectProgress
) -> list[CollectionRunDetail]:
    """The runs as they ended, asking after them until they have; raises `CommandError`."""
    going = {detail.run.id: detail for detail in runs}
    ended: dict[int, CollectionRunDetail] = {}
    pause_s = POLL_S
    try:
        while going:
            for run_id in list(going):
                detail = await api.get(f"{RUNS_PATH}/{run_id}", CollectionRunDetail)
                progress.show(detail.run)
                if detail.run.state in COLLECTION_ENDED:
                    ended[run_id] = detail
                    del going[run_id]
            if going:
                progress.check_begun()
                await asyncio.sleep(pause_s)
                pause_s = min(POLL_S_MAX, pause_s * POLL_GROWTH)
    except (ConfigurationError, RefusedError, NobodyCollectsError):
        raise
    except asyncio.CancelledError:
        write_error(f"not watched any more; {_goes_on(going)}")
        raise
    except CommandError as error:
        raise CommandError(f"{error}; {_goes_on(going)}") from error
    return [ended[detail.run.id] for detail in runs]


def _goes_on(going: Collection[int]) -> str:
    if len(going) == 1:
        return f"the run goes on by itself: sextant sources run {next(iter(going))}"
    return "the runs go on by themselves: sextant sources runs"


def _is_wrong(run: CollectionRun) -> bool:
    """Whether something failed, or nothing at all came of it and the run says why."""
    progress = run.progress
    came = progress.counts.fetched + progress.snapshots_stored + progress.changes_recorded
    return run.state is not CollectionState.DONE or (run.problem is not None and not came)
