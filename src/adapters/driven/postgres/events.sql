-- name: append
-- New events; those whose id the tenant has stay as they are. Ordered, so that two batches never wait for each other.
INSERT INTO sextant.signal_events (tenant_id, id, ts, host, service, fingerprint, severity, metric, value, message,
    labels, synthetic, anomaly_id, created_at, waiting)
SELECT $1, e.id, e.ts, e.host, e.service, e.fingerprint, e.severity, e.metric, e.value, e.message, e.labels::jsonb,
    e.synthetic, e.anomaly_id, e.created_at, e.waiting
FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::float8[],
    $10::text[], $11::text[], $12::boolean[], $13::uuid[], $14::timestamptz[], $15::boolean[])
    AS e (id, ts, host, service, fingerprint, severity, metric, value, message, labels, synthetic, anomaly_id,
        created_at, waiting)
ORDER BY e.id
ON CONFLICT (tenant_id, id) DO NOTHING

-- name: list
-- A tenant's events, newest first, below a position; what is null filters nothing.
SELECT id, ts, host, service, fingerprint, severity, metric, value, message, labels, synthetic, anomaly_id, created_at
FROM sextant.signal_events
WHERE tenant_id = $1
    AND ($2::timestamptz IS NULL OR (ts, id) < ($2, $3::uuid))
    AND ($4::timestamptz IS NULL OR ts >= $4)
    AND ($5::timestamptz IS NULL OR ts < $5)
    AND ($6::text IS NULL OR severity = $6)
    AND ($7::text IS NULL OR host = $7)
    AND ($8::text IS NULL OR service = $8)
    AND ($9::text IS NULL OR metric = $9)
    AND ($10::text IS NULL OR fingerprint = $10)
    AND ($11::boolean IS NULL OR synthetic = $11)
    AND ($12::boolean IS NULL OR (anomaly_id IS NOT NULL) = $12)
ORDER BY ts DESC, id DESC LIMIT $13

-- name: get
-- One event.
SELECT id, ts, host, service, fingerprint, severity, metric, value, message, labels, synthetic, anomaly_id, created_at
FROM sextant.signal_events WHERE tenant_id = $1 AND id = $2

-- name: forget
-- Events of any tenant past their metric's retention, counted in days before a midnight ($1); $2 is what holds without
-- a definition. The shortest retention there is bounds what has to be looked at.
DELETE FROM sextant.signal_events e
USING (
    SELECT old.tenant_id, old.id
    FROM sextant.signal_events old
    LEFT JOIN sextant.metric_definitions d ON d.tenant_id = old.tenant_id AND d.name = old.metric
    WHERE old.ts < $1::timestamptz - make_interval(days => least($2,
            (SELECT min(retention_days) FROM sextant.metric_definitions)))
        AND old.ts < $1::timestamptz - make_interval(days => coalesce(d.retention_days, $2))
    LIMIT $3
) expired
WHERE e.tenant_id = expired.tenant_id AND e.id = expired.id
