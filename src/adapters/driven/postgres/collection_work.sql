-- name: lock_claims
-- One claims at a time: how many runs a tenant and a scope have is counted.
SELECT pg_advisory_xact_lock(hashtext('sextant.collection'), 0)

-- name: end_orphans
-- Ends runs of deleted sources that nobody does at present.
UPDATE sextant.collection_runs SET state = 'failed', problem = $2, finished_at = $1, credentials = NULL
WHERE source_id IS NULL AND scope LIKE 'source:%' AND id IN (
    SELECT id FROM sextant.collection_runs WHERE state = 'waiting'
    UNION ALL
    SELECT id FROM sextant.collection_runs WHERE state = 'running' AND leased_until <= $1)

-- name: run_out
-- The run whose lease ended first, unless who had it is just renewing it.
SELECT id FROM sextant.collection_runs WHERE state = 'running' AND leased_until <= $1
ORDER BY leased_until, id LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: waiting
-- The run that waits longest of those that may begin: of a tenant with fewer than so many, in a scope without any.
SELECT r.id FROM sextant.collection_runs r
WHERE r.state = 'waiting'
    AND NOT EXISTS (
        SELECT FROM sextant.collection_runs o
        WHERE o.tenant_id = r.tenant_id AND o.scope = r.scope AND o.state = 'running')
    AND (
        SELECT count(*) FROM sextant.collection_runs o WHERE o.tenant_id = r.tenant_id AND o.state = 'running') < $1
ORDER BY r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED

-- name: due
-- The scheduled source that is due longest, likewise.
SELECT s.id, s.tenant_id, s.spec, s.next_run_at FROM sextant.metric_sources s
WHERE s.next_run_at <= $1
    AND NOT EXISTS (
        SELECT FROM sextant.collection_runs o
        WHERE o.tenant_id = s.tenant_id AND o.scope = 'source:' || s.id AND o.state = 'running')
    AND (
        SELECT count(*) FROM sextant.collection_runs o WHERE o.tenant_id = s.tenant_id AND o.state = 'running') < $2
ORDER BY s.next_run_at, s.id LIMIT 1 FOR UPDATE OF s SKIP LOCKED

-- name: schedule
-- When a source is collected next by itself.
UPDATE sextant.metric_sources SET next_run_at = $2 WHERE id = $1

-- name: add_due
-- The run of a source that is due.
INSERT INTO sextant.collection_runs (tenant_id, source, kind, source_id, scope, spec, request, requested_by, state,
    progress, requested_at)
SELECT tenant_id, name, spec -> 'config' ->> 'type', id, 'source:' || id, spec, $2, $3, 'waiting', $4, $5
FROM sextant.metric_sources WHERE id = $1
RETURNING id

-- name: take
-- Gives a run to who claims it; that of a stored source as that source is now.
WITH latest AS (
    SELECT r.id, t.name AS tenant, s.id AS source_id, s.name, s.spec, s.credentials
    FROM sextant.collection_runs r
    JOIN sextant.tenants t ON t.id = r.tenant_id
    LEFT JOIN sextant.metric_sources s ON s.id = r.source_id
    WHERE r.id = $1
)
UPDATE sextant.collection_runs r
SET state = 'running', attempts = r.attempts + 1, started_at = coalesce(r.started_at, $2), token = $3,
    leased_until = $4, source = coalesce(latest.name, r.source), spec = coalesce(latest.spec, r.spec),
    kind = coalesce(latest.spec -> 'config' ->> 'type', r.kind)
FROM latest WHERE r.id = latest.id
RETURNING r.tenant_id, latest.tenant, r.scope, r.spec,
    CASE WHEN latest.source_id IS NULL THEN r.credentials ELSE latest.credentials END AS credentials, r.id, r.source,
    r.kind, r.request, r.requested_by, r.state, r.problem, r.progress, r.attempts, r.requested_at, r.started_at,
    r.finished_at

-- name: finished_items
-- Keys of the items that earlier attempts at a run have finished.
SELECT key FROM sextant.collection_items WHERE run_id = $1 AND finished

-- name: checkpoints
-- How far the items and series of a scope are.
SELECT item, series, through FROM sextant.collection_checkpoints WHERE tenant_id = $1 AND scope = $2
ORDER BY item COLLATE "C", series COLLATE "C"

-- name: hold
-- Whether a claim still stands; it does until the end of the transaction. Whether its source was deleted.
SELECT source_id IS NULL AND scope LIKE 'source:%' AS orphaned FROM sextant.collection_runs
WHERE tenant_id = $1 AND id = $2 AND token = $3 AND state = 'running' FOR UPDATE

-- name: extend
-- Renews claims that still hold.
UPDATE sextant.collection_runs r SET leased_until = $3
FROM unnest($1::bigint[], $2::uuid[]) AS held (run_id, token)
WHERE r.id = held.run_id AND r.token = held.token AND r.state = 'running'

-- name: move_checkpoints
-- Moves checkpoints on, never back.
INSERT INTO sextant.collection_checkpoints AS c (tenant_id, scope, digest, item, series, through)
SELECT $1, $2, n.digest, n.item, n.series, n.through
FROM unnest($3::bytea[], $4::text[], $5::text[], $6::timestamptz[]) AS n (digest, item, series, through)
ON CONFLICT (tenant_id, scope, digest) DO UPDATE SET through = excluded.through WHERE c.through < excluded.through

-- name: remove_checkpoints
-- Forgets those of series that have caught up.
DELETE FROM sextant.collection_checkpoints WHERE tenant_id = $1 AND scope = $2 AND digest = ANY ($3::bytea[])

-- name: add_results
-- What came of items; what is newer replaces what came of the same item before.
INSERT INTO sextant.collection_items AS i (tenant_id, run_id, digest, key, finished, failed, result)
SELECT $1, $2, n.digest, n.key, false, n.failed, n.result
FROM unnest($3::bytea[], $4::text[], $5::boolean[], $6::jsonb[]) AS n (digest, key, failed, result)
ON CONFLICT (run_id, digest) DO UPDATE SET failed = excluded.failed, result = excluded.result

-- name: add_finished
-- Which items are finished, also those without a result under their key.
INSERT INTO sextant.collection_items AS i (tenant_id, run_id, digest, key, finished, failed, result)
SELECT $1, $2, n.digest, n.key, true, false, 'null'
FROM unnest($3::bytea[], $4::text[]) AS n (digest, key)
ON CONFLICT (run_id, digest) DO UPDATE SET finished = true

-- name: progress
-- How far a run is, and until when it is claimed.
UPDATE sextant.collection_runs SET progress = $3, leased_until = $4 WHERE tenant_id = $1 AND id = $2

-- name: see_instances
-- Instances that were seen, and whether each is new. What a source does not tell stays as it was told before.
INSERT INTO sextant.instances AS i (tenant_id, provider, external_id, kind, region, name, tags, first_seen_at,
    last_seen_at, synthetic)
SELECT $1, $2, n.external_id, n.kind, n.region, n.name, n.tags, $4, $4, $5
FROM jsonb_to_recordset($3::jsonb) AS n (external_id text, kind text, region text, name text, tags jsonb)
ORDER BY n.external_id COLLATE "C"
ON CONFLICT (tenant_id, provider, external_id) DO UPDATE
SET kind = excluded.kind, region = coalesce(excluded.region, i.region), name = coalesce(excluded.name, i.name),
    tags = CASE WHEN excluded.tags = '{}' THEN i.tags ELSE excluded.tags END,
    last_seen_at = greatest(i.last_seen_at, excluded.last_seen_at)
RETURNING xmax = 0 AS created

-- name: finish
-- Ends a run and forgets what only it needed.
UPDATE sextant.collection_runs SET state = $3, problem = $4, finished_at = $5, credentials = NULL
WHERE tenant_id = $1 AND id = $2

-- name: prune
-- Keeps the results of an ended run that are shown, failed ones first.
DELETE FROM sextant.collection_items WHERE run_id = $1 AND digest NOT IN (
    SELECT digest FROM sextant.collection_items WHERE run_id = $1 AND result <> 'null'
    ORDER BY failed DESC, key COLLATE "C" LIMIT $2)

-- name: forget
-- Runs of any tenant that ended before that, oldest end first, with their items.
DELETE FROM sextant.collection_runs WHERE id IN (
    SELECT id FROM sextant.collection_runs WHERE finished_at < $1 ORDER BY finished_at, id LIMIT $2)
