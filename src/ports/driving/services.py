"""All that a driving adapter needs of the core, in one value."""

import msgspec

from ports.driving.administration import Administration, Authentication, Definitions
from ports.driving.alerting import Alerts, Channels, Rules, Silences
from ports.driving.clusters import Capacity, Configurations, Telemetry
from ports.driving.collecting import Sources
from ports.driving.detecting import Detections, Events
from ports.driving.drifting import Drift, Recommendations
from ports.driving.health import Health
from ports.driving.ingestion import Ingestion
from ports.driving.investigating import Incidents
from ports.driving.querying import Querying
from ports.driving.remediating import Audit, Policies, Remediations


class Services(msgspec.Struct, frozen=True, eq=False):
    """The core's services, wired by the composition root."""

    authentication: Authentication
    ingestion: Ingestion
    querying: Querying
    definitions: Definitions
    administration: Administration
    health: Health
    alerts: Alerts
    rules: Rules
    silences: Silences
    channels: Channels
    policies: Policies
    remediations: Remediations
    audit: Audit
    events: Events
    detections: Detections
    incidents: Incidents
    sources: Sources
    telemetry: Telemetry
    capacity: Capacity
    configurations: Configurations
    drift: Drift
    recommendations: Recommendations
