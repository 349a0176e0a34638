"""A tenant's rows in every table that dashboards show, straight with SQL, each marked with whose they are.

Two namespaces have a workload of the same name, with two pods of the same names, each with a time of its own within the
last whole five minutes.
"""

import psycopg

ROWS = """
INSERT INTO sextant.tenants (name) VALUES (':name');
INSERT INTO sextant.tenant_catalogs (tenant_id, series_active) VALUES (:tenant, :number);
INSERT INTO sextant.series (tenant_id, name, labels, source, digest)
    SELECT :tenant, metric, jsonb_build_object('cluster_id', ':name', 'namespace', namespace, 'workload', ':name',
        'pod', ':name-' || pod), ':name', sha256((metric || namespace || pod)::bytea)
    FROM unnest('{pod_requests_per_second,pod_request_error_ratio,pod_request_latency_p95_seconds,pod_cpu_usage_cores,
        pod_memory_working_set_bytes}'::text[]) AS metric, unnest('{:name,:name-b}'::text[]) AS namespace,
        generate_series(0, 1) AS pod;
INSERT INTO sextant.samples (ts, tenant_id, series_id, value)
    SELECT to_timestamp(floor(extract(epoch FROM now()) / 300) * 300 - 240)
            + right(labels ->> 'pod', 1)::integer * INTERVAL '2 minutes', :tenant, id, :number
    FROM sextant.series WHERE tenant_id = :tenant;
INSERT INTO sextant.alerts (tenant_id, rule_id, target_key, episode, rule_name, metric, labels, state, severity, value,
        started_at, fired_at, no_data, shadow, announced, annotations)
    VALUES (:tenant, 1, 'a', 1, ':name', ':name', '{"of": ":name"}', 'firing', 'critical', :number, now(), now(), false,
        false, true, '{}');
INSERT INTO sextant.incidents (tenant_id, state, title, severe, started_at, last_signal_at, hosts, services, signals,
        synthetic, created_at, updated_at)
    VALUES (:tenant, 'open', ':name', true, now(), now(), '{:name}', '{:name}', :number, false, now(), now());
INSERT INTO sextant.anomalies (tenant_id, id, series_id, detector, metric, labels, fingerprint, finding, risk, risk_max,
        first_seen_at, last_seen_at, shadow, synthetic)
    VALUES (:tenant, gen_random_uuid(), 0, 'spike', ':name', '{}', ':name', '{}', 1, 1, now(), now(), false, false);
INSERT INTO sextant.drift_cluster_capacity_snapshots (tenant_id, cluster_id, ts, node_count, nodes,
        allocatable_cpu_cores, allocatable_memory_bytes, allocatable_pods, used_cpu_cores, used_memory_bytes, used_pods,
        requested_cpu_cores, requested_memory_bytes, requested_pods, cost_usd_per_hour, source, synthetic)
    VALUES (:tenant, ':name', now(), :number, '[]', :number, :number, :number, :number, :number, :number, :number,
        :number, :number, :number, 'eks', false);
INSERT INTO sextant.config_changes (tenant_id, id, ts, cluster_id, namespace, workload, kind, after, diff, source,
        synthetic)
    VALUES (:tenant, gen_random_uuid(), now(), ':name', ':name', ':name', 'image', '{}', '[]', ':name', false);
INSERT INTO sextant.drift_events (tenant_id, drift_id, cluster_id, env, drift_date, drift_category, severity, start_ts,
        last_seen_at, detection_method, confidence_score, status, message, evidence, automatic, synthetic, created_at,
        updated_at)
    VALUES (:tenant, ':name', ':name', ':name', current_date, 'CONFIG_DRIFT', 'minor', now(), now(), 'manual', 1,
        'open', ':name', '{}', false, false, now(), now());
INSERT INTO sextant.drift_recommendations (tenant_id, rec_id, drift_id, cluster_id, env, drift_date,
        recommendation_type, recommendation_json, estimated_savings_usd, auto_approved, automatic, synthetic,
        created_at, updated_at)
    VALUES (:tenant, ':name', ':name', ':name', ':name', current_date, 'right_size', '{"of": ":name"}', :number, false,
        false, false, now(), now());
INSERT INTO sextant.instances (tenant_id, provider, external_id, kind, region, tags, first_seen_at, last_seen_at,
        synthetic)
    VALUES (:tenant, ':name', 'i-1', 'node', ':name', '{}', now(), now(), false);
INSERT INTO sextant.collection_runs (tenant_id, source, kind, scope, spec, credentials, request, requested_by, state,
        problem, progress, requested_at, started_at, finished_at)
    VALUES (:tenant, ':name', 'synthetic', 'once:a', '{}', 'sealed', '{}', 'a', 'partial',
        '{"kind": "budget", "message": ":name"}', '{"counts": {"fetched": :number, "stored": :number,
        "revised": :number, "refused": :number}, "calls": :number, "cost_usd": :number}', now(), now(), now());
INSERT INTO sextant.collection_items (tenant_id, run_id, digest, key, finished, failed, result)
    SELECT :tenant, id, 'a', 'a', true, true, '{"item": ":name", "problem": {"kind": "permission", "message": ":name"}}'
    FROM sextant.collection_runs WHERE tenant_id = :tenant
"""
# The settler makes partitions; on TimescaleDB there are none.
PARTITIONS = """
SELECT sextant.ensure_partition(day) FROM unnest(ARRAY[date_trunc('day', now(), 'UTC'),
    date_trunc('day', now() - INTERVAL '1 hour', 'UTC')]) AS day
"""


def write_rows(url: str, name: str, number: int, *, partitions: bool) -> None:
    """Makes a tenant whose rows' texts are `name` and numbers `number`; as the owner, who must be a superuser."""
    tenant = f"(SELECT id FROM sextant.tenants WHERE name = '{name}')"
    with psycopg.connect(url, autocommit=True) as connection:
        if partitions:
            connection.execute(PARTITIONS.encode())
        for statement in (
            ROWS.replace(":tenant", tenant).replace(":name", name).replace(":number", str(number)).split(";")
        ):
            connection.execute(statement.encode())
