-- name: lock
-- Whoever asks for runs waits for the others who do: those that wait are counted.
SELECT pg_advisory_xact_lock(hashtext('sextant.collection_runs'), $1)

-- name: count_waiting
-- How many runs of a tenant wait.
SELECT count(*) FROM sextant.collection_runs WHERE tenant_id = $1 AND state = 'waiting'

-- name: request
-- A run that waits; of the stored source that its scope names, if any.
INSERT INTO sextant.collection_runs (tenant_id, source, kind, source_id, scope, spec, credentials, request,
    requested_by, state, progress, requested_at)
VALUES ($1, $2, $3, (SELECT id FROM sextant.metric_sources WHERE tenant_id = $1 AND 'source:' || id = $4), $4, $5, $6,
    $7, $8, 'waiting', $9, $10)
RETURNING id, source, kind, request, requested_by, state, problem, progress, attempts, requested_at, started_at,
    finished_at

-- name: list
-- A tenant's runs, newest first, below a position; what is null filters nothing.
SELECT id, source, kind, request, requested_by, state, problem, progress, attempts, requested_at, started_at,
    finished_at
FROM sextant.collection_runs
WHERE tenant_id = $1 AND ($2::bigint IS NULL OR id < $2) AND ($3::text IS NULL OR source = $3)
    AND ($4::text IS NULL OR state = $4)
ORDER BY id DESC LIMIT $5

-- name: get
-- One run.
SELECT id, source, kind, request, requested_by, state, problem, progress, attempts, requested_at, started_at,
    finished_at
FROM sextant.collection_runs WHERE tenant_id = $1 AND id = $2::bigint

-- name: results
-- What came of a run's items, failed ones first.
SELECT result FROM sextant.collection_items
WHERE tenant_id = $1 AND run_id = $2::bigint AND result <> 'null'
ORDER BY failed DESC, key COLLATE "C" LIMIT $3
