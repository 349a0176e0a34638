"""One row of a tenant in each table of detection and incidents, straight with SQL."""

import psycopg

ROWS = """
INSERT INTO sextant.signal_events (tenant_id, id, ts, host, fingerprint, severity, metric, labels, synthetic, waiting)
    VALUES (:tenant, gen_random_uuid(), now(), 'a', 'a:cpu', 'warn', 'cpu', '{}', false, true);
INSERT INTO sextant.service_dependencies VALUES (:tenant, 'web', 'db');
INSERT INTO sextant.detection_settings (tenant_id, settings) VALUES (:tenant, '{"enabled": false}');
INSERT INTO sextant.detection_runs (tenant_id, due_at, state, attempts, started_at, token, leased_until)
    VALUES (:tenant, now(), 'done', 1, now(), gen_random_uuid(), now());
INSERT INTO sextant.anomalies (tenant_id, id, series_id, detector, metric, labels, fingerprint, finding, risk, risk_max,
        first_seen_at, last_seen_at, shadow, synthetic)
    VALUES (:tenant, gen_random_uuid(), 0, 'spike', 'cpu', '{}', 'a:cpu', '{}', 1, 1, now(), now(), false, false);
INSERT INTO sextant.published_risks VALUES (:tenant, 'a:cpu', '{}', 1);
INSERT INTO sextant.incidents (tenant_id, state, title, severe, started_at, last_signal_at, hosts, services, signals,
        synthetic, created_at, updated_at, resolved_at)
    VALUES (:tenant, 'resolved', 'x', false, now(), now(), '{}', '{}', 2, false, now(), now(), now());
INSERT INTO sextant.incident_signals (tenant_id, key, incident_id, at, signal)
    SELECT :tenant, key, (SELECT max(id) FROM sextant.incidents WHERE tenant_id = :tenant), now(), '{}'
    FROM (VALUES ('event:a'), ('event:b')) AS keys (key);
INSERT INTO sextant.incident_edges VALUES (:tenant, 'event:a', 'event:b', 1, '{}');
INSERT INTO sextant.incident_changes (tenant_id, incident_id, kind, at, by, summary, detail)
    SELECT :tenant, max(id), 'opened', now(), 'a', 'x', '{}' FROM sextant.incidents WHERE tenant_id = :tenant;
INSERT INTO sextant.learned_lags VALUES (:tenant, 'a', 'b', 1, 1, 3);
INSERT INTO sextant.synthetic_purges (tenant_id, requested_at, requested_by, finished_at)
    VALUES (:tenant, now(), 'a', now());
"""


def write_detection_rows(url: str, tenant_id: int) -> None:
    """Gives a tenant one row in every such table; as the owner, who must be a superuser."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ROWS.replace(":tenant", str(int(tenant_id))).split(";"):
            if statement.strip():
                connection.execute(statement.encode())
