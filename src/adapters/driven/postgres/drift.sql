-- name: add
-- A new event; where the id is known the stored one is the answer, as it is.
INSERT INTO sextant.drift_events AS e (tenant_id, drift_id, cluster_id, env, drift_date, drift_category, severity,
    workload_name, namespace, start_ts, end_ts, last_seen_at, detection_method, confidence_score, status, message,
    evidence, automatic, synthetic, status_by, status_note, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
ON CONFLICT (tenant_id, drift_id) DO UPDATE SET drift_id = e.drift_id
RETURNING cluster_id, env, drift_date, drift_id, drift_category, severity, workload_name, namespace, start_ts, end_ts,
    last_seen_at, detection_method, confidence_score, status, message, evidence, automatic, synthetic, created_at,
    updated_at, status_by, status_note, xmax = 0 AS added

-- name: get
-- One event.
SELECT cluster_id, env, drift_date, drift_id, drift_category, severity, workload_name, namespace, start_ts, end_ts,
    last_seen_at, detection_method, confidence_score, status, message, evidence, automatic, synthetic, created_at,
    updated_at, status_by, status_note
FROM sextant.drift_events WHERE tenant_id = $1 AND drift_id = $2

-- name: list
-- A tenant's events, newest first, below a position; what is null filters nothing.
SELECT cluster_id, env, drift_date, drift_id, drift_category, severity, workload_name, namespace, start_ts, end_ts,
    last_seen_at, detection_method, confidence_score, status, message, evidence, automatic, synthetic, created_at,
    updated_at, status_by, status_note
FROM sextant.drift_events
WHERE tenant_id = $1
    AND ($2::timestamptz IS NULL OR (start_ts, drift_id) < ($2, $3::text))
    AND ($4::text IS NULL OR cluster_id = $4)
    AND ($5::text IS NULL OR env = $5)
    AND ($6::text IS NULL OR drift_category = $6)
    AND ($7::text IS NULL OR severity = $7)
    AND ($8::text IS NULL OR status = $8)
    AND ($9::text IS NULL OR workload_name = $9)
    AND ($10::text IS NULL OR namespace = $10)
    AND ($11::timestamptz IS NULL OR start_ts >= $11)
    AND ($12::timestamptz IS NULL OR start_ts < $12)
ORDER BY start_ts DESC, drift_id DESC LIMIT $13

-- name: set_status
-- Where an event stands; a resolved one without an end ends, and one that is reopened goes on.
UPDATE sextant.drift_events
SET status = $3, status_by = $4, status_note = $5, updated_at = $6,
    end_ts = CASE
        WHEN $3 = 'resolved' THEN coalesce(end_ts, greatest($6, start_ts))
        WHEN status = 'resolved' THEN NULL
        ELSE end_ts
    END
WHERE tenant_id = $1 AND drift_id = $2
RETURNING cluster_id, env, drift_date, drift_id, drift_category, severity, workload_name, namespace, start_ts, end_ts,
    last_seen_at, detection_method, confidence_score, status, message, evidence, automatic, synthetic, created_at,
    updated_at, status_by, status_note

-- name: lock
-- Whoever saves what was found in a tenant's clusters waits for the others who do.
SELECT pg_advisory_xact_lock(hashtext('sextant.drift_events'), $1)

-- name: follow
-- What is now known of events that detection found before and finds again, unless they were resolved.
UPDATE sextant.drift_events old
SET severity = e.severity, confidence_score = e.confidence_score, message = e.message, evidence = e.evidence,
    last_seen_at = e.last_seen_at, updated_at = $4
FROM jsonb_to_recordset($3::jsonb) AS e (
    drift_id text, severity text, confidence_score double precision, message text, evidence jsonb,
    last_seen_at timestamptz)
WHERE old.tenant_id = $1 AND old.cluster_id = $2 AND old.drift_id = e.drift_id AND old.automatic
    AND old.status <> 'resolved'
RETURNING old.drift_id, old.status

-- name: open
-- New events that detection found; those whose id is known stay as they are.
INSERT INTO sextant.drift_events (tenant_id, drift_id, cluster_id, env, drift_date, drift_category, severity,
    workload_name, namespace, start_ts, end_ts, last_seen_at, detection_method, confidence_score, status, message,
    evidence, automatic, synthetic, status_by, status_note, created_at, updated_at)
SELECT $1, e.drift_id, e.cluster_id, e.env, e.drift_date, e.drift_category, e.severity, e.workload_name, e.namespace,
    e.start_ts, e.end_ts, e.last_seen_at, e.detection_method, e.confidence_score, e.status, e.message, e.evidence,
    e.automatic, e.synthetic, e.status_by, e.status_note, e.created_at, e.updated_at
FROM jsonb_to_recordset($2::jsonb) AS e (
    drift_id text, cluster_id text, env text, drift_date date, drift_category text, severity text, workload_name text,
    namespace text, start_ts timestamptz, end_ts timestamptz, last_seen_at timestamptz, detection_method text,
    confidence_score double precision, status text, message text, evidence jsonb, automatic boolean, synthetic boolean,
    status_by text, status_note text, created_at timestamptz, updated_at timestamptz)
ORDER BY e.drift_id
ON CONFLICT (tenant_id, drift_id) DO NOTHING
RETURNING drift_id

-- name: resolve
-- Ends a cluster's events that detection found before and does not find any more.
UPDATE sextant.drift_events
SET status = 'resolved', status_by = $4, status_note = $5, updated_at = $6,
    end_ts = coalesce(end_ts, greatest($6, start_ts))
WHERE tenant_id = $1 AND cluster_id = $2 AND automatic AND status IN ('open', 'acknowledged')
    AND drift_id <> ALL ($3::text[])

-- name: enrol
-- Tenants that have clusters (snapshots, baselines, or series of these names with the label of a cluster) and that nobody
-- has looked at.
INSERT INTO sextant.drift_looks (tenant_id, looked_at)
SELECT t.id, '-infinity'
FROM sextant.tenants t
WHERE NOT EXISTS (SELECT FROM sextant.drift_looks l WHERE l.tenant_id = t.id)
    AND (
        EXISTS (SELECT FROM sextant.drift_cluster_capacity_snapshots s WHERE s.tenant_id = t.id)
        OR EXISTS (SELECT FROM sextant.config_baselines b WHERE b.tenant_id = t.id)
        OR EXISTS (
            SELECT FROM sextant.series s WHERE s.tenant_id = t.id AND s.name = ANY ($1::text[]) AND s.labels ? $2
        )
    )
ORDER BY t.id
ON CONFLICT (tenant_id) DO NOTHING

-- name: claim
-- The tenant that was looked at longest ago, by $2 at the latest, unless somebody claims it at this moment.
WITH due AS MATERIALIZED (
    SELECT tenant_id FROM sextant.drift_looks WHERE looked_at <= $2
    ORDER BY looked_at, tenant_id LIMIT 1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE sextant.drift_looks l SET looked_at = $1 FROM due WHERE l.tenant_id = due.tenant_id RETURNING l.tenant_id
)
SELECT t.id, t.name FROM claimed JOIN sextant.tenants t ON t.id = claimed.tenant_id
