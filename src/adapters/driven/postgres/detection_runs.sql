-- name: take_over
-- The run claimed with the token $5, else that whose claim ran out first and whose tenant waits for no purge, with its
-- progress, claimed anew until $3.
WITH lost AS MATERIALIZED (
    SELECT id FROM sextant.detection_runs r
    WHERE state = 'running' AND ($4::integer IS NULL OR tenant_id = $4) AND (token = $5 OR leased_until <= $1 AND NOT
        EXISTS (SELECT FROM sextant.synthetic_purges p WHERE p.tenant_id = r.tenant_id AND p.finished_at IS NULL))
    ORDER BY token IS NOT DISTINCT FROM $5 DESC, leased_until, id LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE sextant.detection_runs r SET attempts = r.attempts + 1, token = $2, leased_until = $3
    FROM lost WHERE r.id = lost.id
    RETURNING r.tenant_id, r.id, r.due_at, r.covers_from, r.state, r.attempts, r.started_at, r.finished_at,
        r.after_series_id, r.series, r.points, r.findings, r.error
)
SELECT taken.tenant_id, t.name AS tenant, s.settings, taken.id, taken.due_at, taken.covers_from, taken.state,
    taken.attempts, taken.started_at, taken.finished_at, taken.after_series_id, taken.series, taken.points,
    taken.findings, taken.error
FROM taken JOIN sextant.tenants t ON t.id = taken.tenant_id
LEFT JOIN sextant.detection_settings s ON s.tenant_id = taken.tenant_id

-- name: idle_tenants
-- Tenants that detection looks at, all or one, with no run under way (that would be the newest) and no purge to wait
-- for, longest without first.
SELECT t.id, t.name, s.settings, s.settings ->> 'interval' AS interval, newest.due_at
FROM sextant.tenants t
LEFT JOIN sextant.detection_settings s ON s.tenant_id = t.id
LEFT JOIN LATERAL (
    SELECT r.state, r.due_at FROM sextant.detection_runs r WHERE r.tenant_id = t.id ORDER BY r.id DESC LIMIT 1
) newest ON true
WHERE ($1::integer IS NULL OR t.id = $1) AND coalesce((s.settings ->> 'enabled')::boolean, true)
    AND newest.state IS DISTINCT FROM 'running'
    AND NOT EXISTS (SELECT FROM sextant.synthetic_purges p WHERE p.tenant_id = t.id AND p.finished_at IS NULL)
ORDER BY newest.due_at NULLS FIRST, t.id

-- name: begin
-- A new run, unless another one has begun meanwhile. After a partial run it looks at the rest; one that failed covers
-- nothing.
INSERT INTO sextant.detection_runs (tenant_id, due_at, covers_from, state, attempts, started_at, token, leased_until,
    after_series_id)
SELECT $1, $2,
    (SELECT max(due_at) FROM sextant.detection_runs WHERE tenant_id = $1 AND state IN ('done', 'partial')),
    'running', 1, $3, $4, $5,
    coalesce((
        SELECT CASE WHEN state = 'partial' THEN after_series_id END
        FROM sextant.detection_runs WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1
    ), 0)
WHERE NOT EXISTS (SELECT FROM sextant.detection_runs WHERE tenant_id = $1 AND due_at >= $2)
ON CONFLICT DO NOTHING
RETURNING id, due_at, covers_from, state, attempts, started_at, finished_at, after_series_id, series, points, findings,
    error

-- name: hold
-- Whether a claim still stands; it does until the end of the transaction.
SELECT id FROM sextant.detection_runs
WHERE tenant_id = $1 AND id = $2 AND token = $3 AND state = 'running' FOR UPDATE

-- name: progress
-- How far a run is, and until when it is claimed.
UPDATE sextant.detection_runs
SET after_series_id = $3, series = $4, points = $5, findings = $6, leased_until = $7
WHERE tenant_id = $1 AND id = $2

-- name: finish
-- Ends a run whose claim still stands.
UPDATE sextant.detection_runs SET state = $4, finished_at = $5, error = $6
WHERE tenant_id = $1 AND id = $2 AND token = $3 AND state = 'running' RETURNING id

-- name: series
-- Series seen on that day or later, ascending, past an id; those of one metric are left out.
SELECT id, name, labels, source FROM sextant.series
WHERE tenant_id = $1 AND id > $2 AND seen_on >= $3 AND name <> $4
ORDER BY id LIMIT $5

-- name: latest_anomalies
-- One anomaly of each of these series and each detector: the open one, else that which was first seen last. Findings are
-- large, so they are only read where several were first seen at once: then the last in time counts.
WITH latest AS (
    SELECT DISTINCT ON (series_id, detector) series_id, detector, ended_at IS NULL AS is_open, first_seen_at
    FROM sextant.anomalies WHERE tenant_id = $1 AND series_id = ANY ($2::integer[])
    ORDER BY series_id, detector, (ended_at IS NULL) DESC, first_seen_at DESC
)
SELECT DISTINCT ON (a.series_id, a.detector) a.id, a.metric, a.labels, a.host, a.service, a.fingerprint, a.finding,
    a.risk_max, a.first_seen_at, a.last_seen_at, a.ended_at, a.shadow, a.synthetic, a.verdict, a.marked_by, a.marked_at,
    a.note
FROM latest l
JOIN sextant.anomalies a ON a.tenant_id = $1 AND a.series_id = l.series_id AND a.detector = l.detector
    AND a.first_seen_at = l.first_seen_at AND (a.ended_at IS NULL) = l.is_open
ORDER BY a.series_id, a.detector, (a.finding ->> 'end_us')::bigint DESC, a.id

-- name: quiet_anomalies
-- Those of any series that were last seen before that, longest ago first.
SELECT id, metric, labels, host, service, fingerprint, finding, risk_max, first_seen_at, last_seen_at, ended_at, shadow,
    synthetic, verdict, marked_by, marked_at, note
FROM sextant.anomalies WHERE tenant_id = $1 AND last_seen_at < $2 AND ended_at IS NULL
ORDER BY last_seen_at, id LIMIT $3

-- name: alarming
-- Those that are to be alerted, riskiest first.
SELECT id, metric, labels, host, service, fingerprint, finding, risk_max, first_seen_at, last_seen_at, ended_at, shadow,
    synthetic, verdict, marked_by, marked_at, note
FROM sextant.anomalies
WHERE tenant_id = $1 AND ended_at IS NULL AND risk > $2 AND NOT shadow AND verdict IS DISTINCT FROM 'false'
ORDER BY risk DESC, id

-- name: open
-- New anomalies; those whose id is known stay as they are.
INSERT INTO sextant.anomalies (tenant_id, id, series_id, detector, metric, labels, host, service, fingerprint, finding,
    risk, risk_max, first_seen_at, last_seen_at, ended_at, shadow, synthetic)
SELECT $1, a.id, (a.finding ->> 'series_id')::integer, a.finding ->> 'detector', a.metric, a.labels, a.host, a.service,
    a.fingerprint, a.finding, (a.finding ->> 'risk')::double precision, a.risk_max, a.first_seen_at, a.last_seen_at,
    a.ended_at, a.shadow, a.synthetic
FROM jsonb_to_recordset($2::jsonb) AS a (
    id uuid, metric text, labels jsonb, host text, service text, fingerprint text, finding jsonb,
    risk_max double precision, first_seen_at timestamptz, last_seen_at timestamptz, ended_at timestamptz,
    shadow boolean, synthetic boolean)
ON CONFLICT (tenant_id, id) DO NOTHING

-- name: update
-- What becomes of anomalies as detection looks again; what was said of them is the operators' alone.
UPDATE sextant.anomalies old
SET finding = a.finding, risk = (a.finding ->> 'risk')::double precision, risk_max = a.risk_max,
    last_seen_at = a.last_seen_at, ended_at = a.ended_at, shadow = a.shadow
FROM jsonb_to_recordset($2::jsonb) AS a (
    id uuid, finding jsonb, risk_max double precision, last_seen_at timestamptz, ended_at timestamptz, shadow boolean)
WHERE old.tenant_id = $1 AND old.id = a.id

-- name: published
-- A tenant's published risks.
SELECT fingerprint, labels, risk FROM sextant.published_risks WHERE tenant_id = $1 ORDER BY fingerprint COLLATE "C"

-- name: forget_published
-- Risks that are 0 again: those of all fingerprints but these.
DELETE FROM sextant.published_risks WHERE tenant_id = $1 AND fingerprint <> ALL ($2::text[])

-- name: write_published
-- Risks above 0.
INSERT INTO sextant.published_risks (tenant_id, fingerprint, labels, risk)
SELECT $1, p.fingerprint, p.labels, p.risk
FROM jsonb_to_recordset($2::jsonb) AS p (fingerprint text, labels jsonb, risk double precision)
ON CONFLICT (tenant_id, fingerprint) DO UPDATE SET labels = excluded.labels, risk = excluded.risk

-- name: forget_runs
-- Runs of any tenant that began before that, but for those under way.
DELETE FROM sextant.detection_runs WHERE id IN (
    SELECT id FROM sextant.detection_runs WHERE started_at < $1 AND state <> 'running' ORDER BY id LIMIT $2)

-- name: forget_anomalies
-- Anomalies of any tenant that ended before that.
DELETE FROM sextant.anomalies a
USING (SELECT tenant_id, id FROM sextant.anomalies WHERE ended_at < $1 ORDER BY ended_at LIMIT $2) old
WHERE a.tenant_id = old.tenant_id AND a.id = old.id
