-- name: lock
-- Whoever changes a tenant's incidents, or which signals they have, holds this until the transaction ends.
SELECT pg_advisory_xact_lock(hashtext('sextant.incidents'), $1)

-- name: list
-- A tenant's incidents, newest first, below an id; what is null filters nothing. $9 is a regular expression.
SELECT id, state, title, severe, started_at, last_signal_at, hosts, services, signals, synthetic, acknowledged_at,
    acknowledged_by, resolved_at, resolved_by, merged_into, narrative, revision, created_at, updated_at
FROM sextant.incidents
WHERE tenant_id = $1
    AND ($2::bigint IS NULL OR id < $2)
    AND ($3::text IS NULL OR state = $3)
    AND ($4::boolean IS NULL OR (state IN ('open', 'acknowledged')) = $4)
    AND ($5::timestamptz IS NULL OR started_at >= $5)
    AND ($6::timestamptz IS NULL OR started_at < $6)
    AND ($7::text IS NULL OR $7 = ANY (hosts))
    AND ($8::text IS NULL OR $8 = ANY (services))
    AND ($9::text IS NULL OR title ~ $9 OR narrative ~ $9)
    AND ($10::boolean IS NULL OR synthetic = $10)
ORDER BY id DESC LIMIT $11

-- name: incidents
-- Incidents by id, newest first.
SELECT id, state, title, severe, started_at, last_signal_at, hosts, services, signals, synthetic, acknowledged_at,
    acknowledged_by, resolved_at, resolved_by, merged_into, narrative, revision, created_at, updated_at
FROM sextant.incidents WHERE tenant_id = $1 AND id = ANY ($2::bigint[]) ORDER BY id DESC

-- name: analysis
-- What was made of an incident's signals.
SELECT analysis FROM sextant.incidents WHERE tenant_id = $1 AND id = $2

-- name: signals
-- An incident's signals, the first of them.
SELECT key, signal FROM sextant.incident_signals
WHERE tenant_id = $1 AND incident_id = $2 ORDER BY at, key COLLATE "C" LIMIT $3

-- name: edges
-- Why signals belong together: the links whose both ends are among these, the strongest first.
SELECT first_key, then_key, score, reasons FROM sextant.incident_edges
WHERE tenant_id = $1 AND first_key = ANY ($2::text[]) AND then_key = ANY ($2)
ORDER BY score DESC, first_key COLLATE "C", then_key COLLATE "C"

-- name: history
-- An incident's history, oldest first.
SELECT id, incident_id, kind, at, by, summary, detail, undone FROM sextant.incident_changes
WHERE tenant_id = $1 AND incident_id = $2 ORDER BY id

-- name: change
-- One entry of it.
SELECT id, incident_id, kind, at, by, summary, detail, undone FROM sextant.incident_changes
WHERE tenant_id = $1 AND incident_id = $2 AND id = $3::bigint

-- name: standing_moves
-- Merges and splits of these incidents that are not undone; which signals they moved is left out.
SELECT id, incident_id, kind, at, by, summary, detail - 'keys' AS detail, undone FROM sextant.incident_changes
WHERE tenant_id = $1 AND incident_id = ANY ($2::bigint[]) AND kind IN ('merged', 'split') AND NOT undone ORDER BY id

-- name: mark_undone
-- Entries that were taken back.
UPDATE sextant.incident_changes SET undone = true WHERE tenant_id = $1 AND id = ANY ($2::bigint[])

-- name: write_changes
-- New entries of histories, in their order.
INSERT INTO sextant.incident_changes (tenant_id, incident_id, kind, at, by, summary, detail)
SELECT $1, c.incident_id, c.kind, $6, $7, c.summary, c.detail::jsonb
FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
    AS c (incident_id, kind, summary, detail, place)
ORDER BY c.place

-- name: add
-- A new incident, to be recounted once it has its signals.
INSERT INTO sextant.incidents (tenant_id, state, title, severe, started_at, last_signal_at, hosts, services, signals,
    synthetic, resolved_at, resolved_by, revision, signals_revision, created_at, updated_at)
VALUES ($1, $2, $3, false, 'epoch', 'epoch', '{}', '{}', 0, $4, $5, $6, 0, 0, $7, $7) RETURNING id

-- name: stand
-- Acknowledges, resolves or reopens incidents.
UPDATE sextant.incidents
SET state = $3::text,
    acknowledged_at = CASE $3 WHEN 'acknowledged' THEN $4::timestamptz WHEN 'resolved' THEN acknowledged_at END,
    acknowledged_by = CASE $3 WHEN 'acknowledged' THEN $5::text WHEN 'resolved' THEN acknowledged_by END,
    resolved_at = CASE $3 WHEN 'resolved' THEN $4 END,
    resolved_by = CASE $3 WHEN 'resolved' THEN $5 END,
    revision = revision + 1,
    updated_at = $4
WHERE tenant_id = $1 AND id = ANY ($2::bigint[])

-- name: place
-- Where an incident's signals are: its own, or another's that it is merged into.
UPDATE sextant.incidents SET state = $3, merged_into = $4 WHERE tenant_id = $1 AND id = $2

-- name: move
-- Makes signals another incident's.
UPDATE sextant.incident_signals SET incident_id = $3 WHERE tenant_id = $1 AND key = ANY ($2::text[])

-- name: keys
-- The keys of an incident's signals.
SELECT key FROM sextant.incident_signals WHERE tenant_id = $1 AND incident_id = $2 ORDER BY key COLLATE "C"

-- name: recount
-- Notes what its signals, $3 by now, make of an incident; $5 and $6 tell of those that came just now and are not kept.
UPDATE sextant.incidents i
SET signals = $3::integer,
    started_at = coalesce(kept.first_at, i.started_at),
    last_signal_at = CASE WHEN $3 > kept.signals THEN greatest(kept.last_at, $5::timestamptz, i.last_signal_at)
        ELSE coalesce(kept.last_at, i.last_signal_at) END,
    severe = CASE WHEN $3 > kept.signals THEN kept.severe OR $6::boolean OR i.severe
        ELSE coalesce(kept.severe, i.severe) END,
    hosts = CASE WHEN kept.signals > 0 THEN kept.hosts ELSE i.hosts END,
    services = CASE WHEN kept.signals > 0 THEN kept.services ELSE i.services END,
    revision = i.revision + 1,
    signals_revision = i.signals_revision + 1,
    updated_at = $4
FROM (
    SELECT count(*) AS signals, min(s.at) AS first_at, max(s.at) AS last_at, bool_or(of.severe) AS severe,
        coalesce(array_agg(DISTINCT of.host ORDER BY of.host) FILTER (WHERE of.host <> ''), '{}') AS hosts,
        coalesce(array_agg(DISTINCT of.service ORDER BY of.service) FILTER (WHERE of.service <> ''), '{}') AS services
    FROM sextant.incident_signals s,
        LATERAL jsonb_to_record(s.signal) AS of (host text COLLATE "C", service text COLLATE "C", severe boolean)
    WHERE s.tenant_id = $1 AND s.incident_id = $2
) kept
WHERE i.tenant_id = $1 AND i.id = $2
