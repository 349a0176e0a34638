-- What Grafana reads: views that show each login the rows of one tenant. Run it once, and again after an upgrade, in
-- the database of SEXTANT_DATABASE_URL as its user.
--
-- A Grafana user can send any SQL, SET included. So the tenant follows from who logged in, which SQL cannot change, and
-- not from a setting; logins have rights to these views alone. A login is made by three statements:
--
--   CREATE ROLE grafana_acme LOGIN PASSWORD '...' CONNECTION LIMIT 10 IN ROLE sextant_grafana_reader;
--   ALTER ROLE grafana_acme SET statement_timeout = '30s';
--   INSERT INTO sextant_grafana.logins SELECT 'grafana_acme', id FROM sextant.tenants WHERE name = 'acme';

BEGIN;

-- The first owns the views, and reads all tenants like the keeper does; the second is what logins are members of.
DO $$
DECLARE
    wanted text;
    -- Since PostgreSQL 16 a member may lack the right to SET ROLE.
    may_become text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['sextant_grafana', 'sextant_grafana_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- made by another database of this server
        END;
    END LOOP;
    IF NOT pg_has_role('sextant_grafana', 'sextant_keeper', 'MEMBER') THEN
        GRANT sextant_keeper TO sextant_grafana;
    END IF;
    IF NOT pg_has_role(current_user, 'sextant_grafana', may_become) THEN
        EXECUTE format('GRANT sextant_grafana TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS sextant_grafana AUTHORIZATION sextant_grafana;
SET LOCAL ROLE sextant_grafana;

CREATE TABLE IF NOT EXISTS sextant_grafana.logins (
    login name PRIMARY KEY,
    tenant_id integer NOT NULL
);

-- The tenant of whoever logged in; null, which matches no row, for all others. SET ROLE does not change session_user.
CREATE OR REPLACE FUNCTION sextant_grafana.tenant() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT l.tenant_id FROM sextant_grafana.logins l WHERE l.login = session_user);

CREATE OR REPLACE VIEW sextant_grafana.tenant WITH (security_barrier) AS
SELECT t.name, t.created_at, c.series_active
FROM sextant.tenants t JOIN sextant.tenant_catalogs c ON c.tenant_id = t.id
WHERE t.id = (SELECT sextant_grafana.tenant());

CREATE OR REPLACE VIEW sextant_grafana.series WITH (security_barrier) AS
SELECT id, name, labels, source, created_at, seen_on
FROM sextant.series
WHERE tenant_id = (SELECT sextant_grafana.tenant());

-- Settled samples: the newest appear here after SEXTANT_KEEPER_SETTLE_AGE, 5 minutes, at the latest.
CREATE OR REPLACE VIEW sextant_grafana.samples WITH (security_barrier) AS
SELECT ts, series_id, value
FROM sextant.samples
WHERE tenant_id = (SELECT sextant_grafana.tenant());

-- The same of pods, with their labels as columns.
CREATE OR REPLACE VIEW sextant_grafana.pod_samples WITH (security_barrier) AS
SELECT p.ts, p.value, s.name AS metric, s.labels ->> 'cluster_id' AS cluster_id, s.labels ->> 'namespace' AS namespace,
    s.labels ->> 'workload' AS workload, s.labels ->> 'pod' AS pod
FROM sextant.series s JOIN sextant.samples p ON p.series_id = s.id
WHERE s.tenant_id = (SELECT sextant_grafana.tenant())
    AND p.tenant_id = (SELECT sextant_grafana.tenant())
    AND s.name LIKE 'pod\_%';

CREATE OR REPLACE VIEW sextant_grafana.alerts WITH (security_barrier) AS
SELECT id, rule_name, metric, labels, state, severity, value, started_at, fired_at, resolved_at, resolution,
    acknowledged_at, acknowledged_by
FROM sextant.alerts
WHERE tenant_id = (SELECT sextant_grafana.tenant()) AND NOT shadow;

CREATE OR REPLACE VIEW sextant_grafana.incidents WITH (security_barrier) AS
SELECT id, state, title, severe, started_at, last_signal_at, hosts, services, signals, resolved_at, narrative
FROM sextant.incidents
WHERE tenant_id = (SELECT sextant_grafana.tenant()) AND state <> 'merged';

CREATE OR REPLACE VIEW sextant_grafana.anomalies WITH (security_barrier) AS
SELECT detector, metric, labels, host, service, risk, risk_max, first_seen_at, last_seen_at, ended_at, verdict
FROM sextant.anomalies
WHERE tenant_id = (SELECT sextant_grafana.tenant()) AND NOT shadow;

CREATE OR REPLACE VIEW sextant_grafana.capacity WITH (security_barrier) AS
SELECT cluster_id, ts, node_count, allocatable_cpu_cores, allocatable_memory_bytes, allocatable_pods, used_cpu_cores,
    used_memory_bytes, used_pods, requested_cpu_cores, requested_memory_bytes, requested_pods, cost_usd_per_hour
FROM sextant.drift_cluster_capacity_snapshots
WHERE tenant_id = (SELECT sextant_grafana.tenant());

CREATE OR REPLACE VIEW sextant_grafana.config_changes WITH (security_barrier) AS
SELECT ts, cluster_id, namespace, workload, kind, actor, source, diff
FROM sextant.config_changes
WHERE tenant_id = (SELECT sextant_grafana.tenant());

CREATE OR REPLACE VIEW sextant_grafana.drift_events WITH (security_barrier) AS
SELECT drift_id, cluster_id, env, drift_category, severity, namespace, workload_name, start_ts, end_ts, last_seen_at,
    detection_method, confidence_score, status, message
FROM sextant.drift_events
WHERE tenant_id = (SELECT sextant_grafana.tenant());

CREATE OR REPLACE VIEW sextant_grafana.recommendations WITH (security_barrier) AS
SELECT rec_id, drift_id, cluster_id, env, recommendation_type, recommendation_json, estimated_savings_usd, decision,
    decided_by, created_at
FROM sextant.drift_recommendations
WHERE tenant_id = (SELECT sextant_grafana.tenant());

CREATE OR REPLACE VIEW sextant_grafana.instances WITH (security_barrier) AS
SELECT provider, external_id, kind, region, name, tags, first_seen_at, last_seen_at
FROM sextant.instances
WHERE tenant_id = (SELECT sextant_grafana.tenant());

CREATE OR REPLACE VIEW sextant_grafana.collection_runs WITH (security_barrier) AS
SELECT id, source, kind, state, problem ->> 'kind' AS problem_kind, problem ->> 'message' AS problem,
    (progress -> 'counts' ->> 'fetched')::bigint AS fetched, (progress -> 'counts' ->> 'stored')::bigint AS stored,
    (progress -> 'counts' ->> 'revised')::bigint AS revised, (progress -> 'counts' ->> 'refused')::bigint AS refused,
    (progress ->> 'calls')::bigint AS calls, (progress ->> 'cost_usd')::double precision AS cost_usd,
    attempts, requested_at, started_at, finished_at
FROM sextant.collection_runs
WHERE tenant_id = (SELECT sextant_grafana.tenant());

-- What could not be collected.
CREATE OR REPLACE VIEW sextant_grafana.collection_problems WITH (security_barrier) AS
SELECT i.run_id, r.source, r.kind, r.started_at, i.result ->> 'item' AS item,
    i.result -> 'problem' ->> 'kind' AS problem_kind, i.result -> 'problem' ->> 'message' AS problem
FROM sextant.collection_items i JOIN sextant.collection_runs r ON r.id = i.run_id AND r.tenant_id = i.tenant_id
WHERE i.tenant_id = (SELECT sextant_grafana.tenant()) AND i.failed;

GRANT USAGE ON SCHEMA sextant_grafana TO sextant_grafana_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA sextant_grafana TO sextant_grafana_reader;
-- Logins are the operator's: nobody who reads dashboards need know whom else there is.
REVOKE SELECT ON sextant_grafana.logins FROM sextant_grafana_reader;

COMMIT;
