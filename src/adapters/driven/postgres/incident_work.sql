-- name: try_lead
-- The lock of the one that correlates; it goes with the connection.
SELECT pg_try_advisory_lock(hashtext('sextant.correlation'), 0)

-- name: stop_leading
-- Lets another one lead at once.
SELECT pg_advisory_unlock(hashtext('sextant.correlation'), 0)

-- name: waiting_tenants
-- Tenants with signals that wait.
SELECT t.id FROM sextant.tenants t
WHERE EXISTS (SELECT FROM sextant.signal_events e WHERE e.tenant_id = t.id AND e.waiting)
    OR EXISTS (
        SELECT FROM sextant.alerts a
        WHERE a.tenant_id = t.id AND a.fired_at IS NOT NULL AND NOT a.correlated AND NOT a.shadow)
ORDER BY t.id

-- name: waiting_events
-- A tenant's earliest events that wait.
SELECT id, ts, host, service, fingerprint, severity, metric, value, message, labels, synthetic, anomaly_id, created_at
FROM sextant.signal_events WHERE tenant_id = $1 AND waiting ORDER BY ts, id LIMIT $2

-- name: waiting_alerts
-- A tenant's earliest alerts that fired and wait.
SELECT s.* FROM sextant.shown_alerts s JOIN sextant.alerts a ON a.id = s.id
WHERE a.tenant_id = $1 AND a.fired_at IS NOT NULL AND NOT a.correlated AND NOT a.shadow
ORDER BY a.started_at, a.id LIMIT $2

-- name: take_events
-- Those that still wait, which then wait no longer.
UPDATE sextant.signal_events SET waiting = false WHERE tenant_id = $1 AND id = ANY ($2::uuid[]) AND waiting RETURNING id

-- name: take_alerts
-- The same of alerts. One that evaluation is writing at this moment goes on waiting: nobody waits for the other then.
UPDATE sextant.alerts a SET correlated = true
FROM (
    SELECT id FROM sextant.alerts
    WHERE tenant_id = $1 AND id = ANY ($2::bigint[]) AND fired_at IS NOT NULL AND NOT correlated AND NOT shadow
    FOR NO KEY UPDATE SKIP LOCKED
) free
WHERE a.id = free.id RETURNING a.id

-- name: known
-- Which of these are signals of an incident.
SELECT key FROM sextant.incident_signals WHERE tenant_id = $1 AND key = ANY ($2::text[])

-- name: settings
-- A tenant's detection settings.
SELECT settings FROM sextant.detection_settings WHERE tenant_id = $1

-- name: surrounding_signals
-- Signals of a time, of incidents that are active or were resolved since another.
SELECT s.incident_id, s.signal FROM sextant.incident_signals s JOIN sextant.incidents i ON i.id = s.incident_id
WHERE s.tenant_id = $1 AND s.at >= $2 AND s.at < $3
    AND (i.state IN ('open', 'acknowledged') OR (i.state = 'resolved' AND i.resolved_at >= $4))
ORDER BY s.at, s.key COLLATE "C"

-- name: place_of
-- Where an incident's signals are: it, or what it was merged into; not to be deleted before the transaction ends.
SELECT id FROM sextant.incidents
WHERE tenant_id = $1 AND id = (
    WITH RECURSIVE way AS (
        SELECT id, merged_into FROM sextant.incidents WHERE tenant_id = $1 AND id = $2
        UNION ALL
        SELECT i.id, i.merged_into FROM way JOIN sextant.incidents i ON i.tenant_id = $1 AND i.id = way.merged_into
    )
    SELECT id FROM way WHERE merged_into IS NULL)
FOR UPDATE

-- name: kept
-- How many signals of an incident are kept.
SELECT count(*) FROM sextant.incident_signals WHERE tenant_id = $1 AND incident_id = $2

-- name: add_signals
-- New signals of an incident.
INSERT INTO sextant.incident_signals (tenant_id, key, incident_id, at, signal)
SELECT $1, s.key, $2, s.at, s.signal::jsonb
FROM unnest($3::text[], $4::timestamptz[], $5::text[]) AS s (key, at, signal)

-- name: add_edges
-- Why signals belong together, where both are kept.
INSERT INTO sextant.incident_edges (tenant_id, first_key, then_key, score, reasons)
SELECT $1, e.first_key, e.then_key, e.score, ARRAY(SELECT jsonb_array_elements_text(e.reasons::jsonb))
FROM unnest($2::text[], $3::text[], $4::float8[], $5::text[]) AS e (first_key, then_key, score, reasons)
JOIN sextant.incident_signals f ON f.tenant_id = $1 AND f.key = e.first_key
JOIN sextant.incident_signals t ON t.tenant_id = $1 AND t.key = e.then_key
ON CONFLICT (tenant_id, first_key, then_key) DO NOTHING

-- name: last_change
-- The newest entry of an incident's history.
SELECT id, incident_id, kind, at, by, summary, detail, undone FROM sextant.incident_changes
WHERE tenant_id = $1 AND incident_id = $2 ORDER BY id DESC LIMIT 1

-- name: continue_change
-- What became of an entry of it.
UPDATE sextant.incident_changes SET at = $3, summary = $4, detail = $5 WHERE tenant_id = $1 AND id = $2

-- name: unanalysed
-- Incidents whose signals changed since they were analysed, longest waiting first.
SELECT tenant_id, id, signals_revision FROM sextant.incidents
WHERE analysed_revision < signals_revision AND state <> 'merged' ORDER BY updated_at, id LIMIT $1

-- name: save_analysis
-- What was made of an incident's signals, unless they changed meanwhile.
UPDATE sextant.incidents
SET title = $4, narrative = $5, analysis = $6, analysed_revision = $3, revision = revision + 1, updated_at = $7
WHERE tenant_id = $1 AND id = $2 AND signals_revision = $3 AND state <> 'merged' RETURNING id

-- name: conditions
-- Open anomalies of these places that are conditions, not moments, the riskiest first.
SELECT id, metric, labels, host, service, fingerprint, finding, risk_max, first_seen_at, last_seen_at, ended_at, shadow,
    synthetic, verdict, marked_by, marked_at, note
FROM sextant.anomalies
WHERE tenant_id = $1 AND ended_at IS NULL AND detector IN ('variance', 'trend') AND NOT shadow
    AND verdict IS DISTINCT FROM 'false' AND (host = ANY ($2::text[]) OR service = ANY ($3::text[]))
ORDER BY risk DESC, id LIMIT $4

-- name: active_tenants
-- Tenants with active incidents: since when the quietest of those has had no signal, and the tenant's settings.
SELECT i.tenant_id, min(i.last_signal_at) AS last_signal_at, min(d.settings::text) AS settings
FROM sextant.incidents i LEFT JOIN sextant.detection_settings d USING (tenant_id)
WHERE i.state IN ('open', 'acknowledged') GROUP BY i.tenant_id ORDER BY i.tenant_id

-- name: quiet
-- Active incidents of a tenant without a signal, or somebody who reopened them, since then, none of whose alerts fires.
SELECT i.id FROM sextant.incidents i
WHERE i.tenant_id = $1 AND i.state IN ('open', 'acknowledged') AND i.last_signal_at <= $2
    AND NOT EXISTS (
        SELECT FROM sextant.incident_changes c WHERE c.incident_id = i.id AND c.kind = 'reopened' AND c.at > $2)
    AND NOT EXISTS (
        SELECT FROM sextant.alerts a
        JOIN sextant.incident_signals s ON s.tenant_id = a.tenant_id AND s.key = 'alert:' || a.id
        WHERE a.tenant_id = $1 AND a.state = 'firing' AND s.incident_id = i.id)
ORDER BY i.id FOR UPDATE OF i

-- name: lags
-- What was learned of a tenant.
SELECT first_entity, then_entity, lag_us, spread_us, incidents FROM sextant.learned_lags WHERE tenant_id = $1
ORDER BY first_entity COLLATE "C", then_entity COLLATE "C"

-- name: forget_lags
-- All of it.
DELETE FROM sextant.learned_lags WHERE tenant_id = $1

-- name: save_lags
-- What was learned anew.
INSERT INTO sextant.learned_lags (tenant_id, first_entity, then_entity, lag_us, spread_us, incidents)
SELECT $1, l.first_entity, l.then_entity, l.lag_us, l.spread_us, l.incidents
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[])
    AS l (first_entity, then_entity, lag_us, spread_us, incidents)

-- name: histories
-- The first signal of every host, service and metric of each of the newest incidents.
SELECT first.incident_id, first.signal
FROM (
    SELECT id FROM sextant.incidents
    WHERE tenant_id = $1 AND state <> 'merged' AND started_at >= $2 AND NOT synthetic ORDER BY id DESC LIMIT $3
) newest
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (s.signal ->> 'host', s.signal ->> 'service', s.signal ->> 'metric')
        s.incident_id, s.at, s.key, s.signal
    FROM sextant.incident_signals s WHERE s.tenant_id = $1 AND s.incident_id = newest.id
    ORDER BY s.signal ->> 'host', s.signal ->> 'service', s.signal ->> 'metric', s.at, s.key COLLATE "C"
) first
ORDER BY first.incident_id DESC, first.at, first.key COLLATE "C"

-- name: forgettable
-- Incidents resolved or merged before then, into which none was merged that is still kept.
SELECT i.tenant_id, i.id FROM sextant.incidents i
WHERE ((i.state = 'resolved' AND i.resolved_at < $1) OR (i.state = 'merged' AND i.updated_at < $1))
    AND NOT EXISTS (SELECT FROM sextant.incidents m WHERE m.merged_into = i.id)
ORDER BY i.id LIMIT $2

-- name: forget
-- Deletes those of a tenant that still are.
DELETE FROM sextant.incidents i
WHERE i.tenant_id = $1 AND i.id = ANY ($2::bigint[])
    AND ((i.state = 'resolved' AND i.resolved_at < $3) OR (i.state = 'merged' AND i.updated_at < $3))
    AND NOT EXISTS (SELECT FROM sextant.incidents m WHERE m.merged_into = i.id)
RETURNING i.id
