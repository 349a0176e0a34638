-- name: lock
-- Whoever records changes of a tenant waits for the others who do: each is compared with the newest.
SELECT pg_advisory_xact_lock(hashtext('sextant.config_changes'), $1)

-- name: newest
-- The newest change of each of these configurations that has one; place is where it stands among them.
SELECT p.place, c.id, c.ts, c.cluster_id, c.namespace, c.workload, c.kind, c.before, c.after, c.diff, c.actor, c.source,
    c.synthetic
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
    AS p (cluster_id, namespace, workload, kind, place)
CROSS JOIN LATERAL (
    SELECT id, ts, cluster_id, namespace, workload, kind, NULL::jsonb AS before, after, '[]'::jsonb AS diff, actor, source,
        synthetic
    FROM sextant.config_changes
    WHERE tenant_id = $1 AND cluster_id = p.cluster_id AND workload = p.workload AND namespace = p.namespace
        AND kind = p.kind
    ORDER BY ts DESC, id DESC LIMIT 1
) c

-- name: add
-- New changes; those whose id the tenant has stay as they are.
INSERT INTO sextant.config_changes (tenant_id, id, ts, cluster_id, namespace, workload, kind, before, after, diff, actor,
    source, synthetic)
SELECT $1, c.id, c.ts, c.cluster_id, c.namespace, c.workload, c.kind, c.before::jsonb, c.after::jsonb, c.diff::jsonb,
    c.actor, c.source, c.synthetic
FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::boolean[])
    AS c (id, ts, cluster_id, namespace, workload, kind, before, after, diff, actor, source, synthetic)
ON CONFLICT (tenant_id, id) DO NOTHING
RETURNING id

-- name: standing
-- Whose newest change is no removal, of what a source has ever found in these namespaces of a cluster; none named: in all.
SELECT namespace, workload, kind
FROM (
    SELECT namespace, workload, kind, bool_or(source = $3) AS was_found,
        (array_agg(after IS NOT NULL ORDER BY ts DESC, id DESC))[1] AS stands
    FROM sextant.config_changes
    WHERE tenant_id = $1 AND cluster_id = $2 AND ($4::text[] = '{}' OR namespace = ANY ($4))
    GROUP BY namespace, workload, kind
) c
WHERE was_found AND stands
ORDER BY namespace COLLATE "C", workload COLLATE "C"

-- name: list
-- A tenant's changes, newest first, below a position; what is null filters nothing.
SELECT id, ts, cluster_id, namespace, workload, kind, before, after, diff, actor, source, synthetic
FROM sextant.config_changes
WHERE tenant_id = $1
    AND ($2::timestamptz IS NULL OR (ts, id) < ($2, $3::uuid))
    AND ($4::text IS NULL OR cluster_id = $4)
    AND ($5::text IS NULL OR namespace = $5)
    AND ($6::text IS NULL OR workload = $6)
    AND ($7::text IS NULL OR kind = $7)
    AND ($8::timestamptz IS NULL OR ts >= $8)
    AND ($9::timestamptz IS NULL OR ts < $9)
ORDER BY ts DESC, id DESC LIMIT $10

-- name: get
-- One change.
SELECT id, ts, cluster_id, namespace, workload, kind, before, after, diff, actor, source, synthetic
FROM sextant.config_changes WHERE tenant_id = $1 AND id = $2

-- name: at
-- The last change by then of each namespace and kind of a workload: its namespaces, found by skipping from one to the next
-- in the index, times all kinds.
WITH RECURSIVE spaces AS (
    (
        SELECT namespace FROM sextant.config_changes
        WHERE tenant_id = $1 AND cluster_id = $2 AND workload = $3 AND ($4::text IS NULL OR namespace = $4)
        ORDER BY namespace LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT c.namespace FROM sextant.config_changes c
        WHERE c.tenant_id = $1 AND c.cluster_id = $2 AND c.workload = $3 AND c.namespace > spaces.namespace
            AND $4::text IS NULL
        ORDER BY c.namespace LIMIT 1
    )
    FROM spaces WHERE spaces.namespace IS NOT NULL
)
SELECT c.id, c.ts, c.cluster_id, c.namespace, c.workload, c.kind, c.before, c.after, c.diff, c.actor, c.source, c.synthetic
FROM spaces
CROSS JOIN unnest(ARRAY['runtime', 'policy', 'image', 'resource']) AS kinds (kind)
CROSS JOIN LATERAL (
    SELECT id, ts, cluster_id, namespace, workload, kind, before, after, diff, actor, source, synthetic
    FROM sextant.config_changes
    WHERE tenant_id = $1 AND cluster_id = $2 AND workload = $3 AND namespace = spaces.namespace AND kind = kinds.kind
        AND ts <= $5
    ORDER BY ts DESC, id DESC LIMIT 1
) c

-- name: baselines
-- A tenant's baselines; what is null filters nothing.
SELECT cluster_id, namespace, workload, kind, document, declared_by, declared_at
FROM sextant.config_baselines
WHERE tenant_id = $1 AND ($2::text IS NULL OR cluster_id = $2) AND ($3::text IS NULL OR workload = $3)
ORDER BY cluster_id COLLATE "C", namespace COLLATE "C", workload COLLATE "C", kind COLLATE "C"

-- name: lock_baselines
-- Whoever declares a baseline of a tenant waits for the others who do: together they have room for so many bytes.
SELECT pg_advisory_xact_lock(hashtext('sextant.config_baselines'), $1)

-- name: size_of_other_baselines
-- How many bytes a tenant's baselines take, but for one.
SELECT coalesce(sum(octet_length(document::text)), 0)::bigint FROM sextant.config_baselines
WHERE tenant_id = $1 AND (cluster_id, namespace, workload, kind) <> ($2, $3, $4, $5)

-- name: put_baseline
-- Declares a baseline.
INSERT INTO sextant.config_baselines (tenant_id, cluster_id, namespace, workload, kind, document, declared_by, declared_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id, cluster_id, namespace, workload, kind) DO UPDATE SET
    document = excluded.document, declared_by = excluded.declared_by, declared_at = excluded.declared_at

-- name: delete_baseline
-- Removes a baseline.
DELETE FROM sextant.config_baselines
WHERE tenant_id = $1 AND cluster_id = $2 AND namespace = $3 AND workload = $4 AND kind = $5
RETURNING kind
