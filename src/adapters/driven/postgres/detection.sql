-- name: settings
-- A tenant's settings.
SELECT settings FROM sextant.detection_settings WHERE tenant_id = $1

-- name: lock_settings
-- Whoever writes a tenant's settings, or the rule that follows them, waits for the others who do: a tenant with the
-- defaults has no row to lock.
SELECT pg_advisory_xact_lock(hashtext('sextant.detection_settings'), $1)

-- name: replace_settings
-- A tenant's new settings.
INSERT INTO sextant.detection_settings (tenant_id, settings) VALUES ($1, $2)
ON CONFLICT (tenant_id) DO UPDATE SET settings = excluded.settings, updated_at = now()

-- name: runs
-- A tenant's runs, newest first, below an id where one is given.
SELECT id, due_at, covers_from, state, attempts, started_at, finished_at, after_series_id, series, points, findings, error
FROM sextant.detection_runs WHERE tenant_id = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3

-- name: request_run
-- A run that is due at once, unless one is under way: its claim has run out, so whoever looks next takes it over.
INSERT INTO sextant.detection_runs (tenant_id, due_at, covers_from, state, attempts, started_at, token, leased_until)
SELECT $1, $2,
    (SELECT max(due_at) FROM sextant.detection_runs WHERE tenant_id = $1 AND state IN ('done', 'partial')),
    'running', 0, $2, gen_random_uuid(), $2
WHERE NOT EXISTS (SELECT FROM sextant.detection_runs WHERE tenant_id = $1 AND state = 'running')
ON CONFLICT DO NOTHING
RETURNING id, due_at, covers_from, state, attempts, started_at, finished_at, after_series_id, series, points, findings,
    error

-- name: anomalies
-- A tenant's anomalies, last seen first, below a position; what is null filters nothing.
SELECT id, metric, labels, host, service, fingerprint, finding, risk_max, first_seen_at, last_seen_at, ended_at, shadow,
    synthetic, verdict, marked_by, marked_at, note
FROM sextant.anomalies
WHERE tenant_id = $1
    AND ($2::timestamptz IS NULL OR (last_seen_at, id) < ($2, $3::uuid))
    AND ($4::timestamptz IS NULL OR last_seen_at >= $4)
    AND ($5::timestamptz IS NULL OR last_seen_at < $5)
    AND ($6::text IS NULL OR detector = $6)
    AND ($7::text IS NULL OR metric = $7)
    AND ($8::text IS NULL OR host = $8)
    AND ($9::text IS NULL OR service = $9)
    AND ($10::text IS NULL OR fingerprint = $10)
    AND ($11::boolean IS NULL OR (ended_at IS NULL) = $11)
    AND ($12::double precision IS NULL OR risk >= $12)
    AND ($13::boolean IS NULL OR (verdict IS NOT NULL) = $13)
    AND ($14::boolean IS NULL OR synthetic = $14)
ORDER BY last_seen_at DESC, id DESC LIMIT $15

-- name: anomaly
-- One anomaly.
SELECT id, metric, labels, host, service, fingerprint, finding, risk_max, first_seen_at, last_seen_at, ended_at, shadow,
    synthetic, verdict, marked_by, marked_at, note
FROM sextant.anomalies WHERE tenant_id = $1 AND id = $2

-- name: mark
-- What an operator says of an anomaly; nulls take it back.
UPDATE sextant.anomalies SET verdict = $3, marked_by = $4, marked_at = $5, note = $6
WHERE tenant_id = $1 AND id = $2
RETURNING id, metric, labels, host, service, fingerprint, finding, risk_max, first_seen_at, last_seen_at, ended_at, shadow,
    synthetic, verdict, marked_by, marked_at, note

-- name: precision
-- Of each detector: anomalies first seen since then, and what was said of them. None was last seen before it was first
-- seen, which lets the index find them.
SELECT detector, count(*) AS anomalies, count(*) FILTER (WHERE verdict = 'true') AS marked_true,
    count(*) FILTER (WHERE verdict = 'false') AS marked_false
FROM sextant.anomalies
WHERE tenant_id = $1 AND last_seen_at >= $2 AND first_seen_at >= $2 AND NOT synthetic
GROUP BY detector
