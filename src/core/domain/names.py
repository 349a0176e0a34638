"""Names that others gave: of clusters, namespaces, workloads and the like."""

from core.domain.errors import InvalidInput
from core.domain.series import check_text


def check_cluster_id(field: str, cluster_id: str) -> None:
    """Raises `InvalidInput` unless it can name a cluster, a namespace or a workload."""
    if not 1 <= len(cluster_id) <= 253 or not cluster_id.isprintable():
        raise InvalidInput(field, "must have 1 to 253 printable characters")
    check_text(field, cluster_id)


def check_text_encodable(field: str, text: str) -> None:
    """Raises `InvalidInput` where a text is not Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(field, "contains half of a surrogate pair, which is not Unicode text") from None
