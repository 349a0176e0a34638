"""All that a driving adapter needs of the core, in one value."""

import msgspec

from ports.driving.administration import Administration, Authentication, Definitions
from ports.driving.health import Health
from ports.driving.ingestion import Ingestion
from ports.driving.querying import Querying


class Services(msgspec.Struct, frozen=True, eq=False):
    """The core's services, wired by the composition root."""

    authentication: Authentication
    ingestion: Ingestion
    querying: Querying
    definitions: Definitions
    administration: Administration
    health: Health
