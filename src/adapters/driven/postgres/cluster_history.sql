-- name: snapshots
-- Capacity snapshots of any tenant from before that, but for each cluster's newest.
DELETE FROM sextant.drift_cluster_capacity_snapshots s
USING (
    SELECT tenant_id, cluster_id, ts FROM sextant.drift_cluster_capacity_snapshots one
    WHERE ts < $1 AND EXISTS (
        SELECT FROM sextant.drift_cluster_capacity_snapshots newer
        WHERE newer.tenant_id = one.tenant_id AND newer.cluster_id = one.cluster_id AND newer.ts > one.ts)
    ORDER BY ts LIMIT $2
) old
WHERE s.tenant_id = old.tenant_id AND s.cluster_id = old.cluster_id AND s.ts = old.ts

-- name: changes
-- Configuration changes of any tenant that another had followed before that: what was the state then, and the newest, stay.
-- What a collector found ($3: their kinds) goes once it has found something else: by it is known who looks for removals.
DELETE FROM sextant.config_changes c
USING (
    SELECT tenant_id, id FROM sextant.config_changes one
    WHERE ts < $1 AND EXISTS (
        SELECT FROM sextant.config_changes newer
        WHERE newer.tenant_id = one.tenant_id AND newer.cluster_id = one.cluster_id
            AND newer.workload = one.workload AND newer.namespace = one.namespace AND newer.kind = one.kind
            AND (newer.ts, newer.id) > (one.ts, one.id) AND newer.ts < $1
            AND (newer.source = one.source OR one.source <> ALL ($3::text[])))
    ORDER BY ts LIMIT $2
) old
WHERE c.tenant_id = old.tenant_id AND c.id = old.id

-- name: drift
-- Settled drift of any tenant that nothing was done about since then, with its recommendations. When it was made bounds
-- what has to be looked at: an index over updated_at would be written to whenever drift is found again. What says so
-- twice holds for drift that somebody reopens meanwhile.
DELETE FROM sextant.drift_events e
USING (
    SELECT tenant_id, drift_id FROM sextant.drift_events one
    WHERE created_at < $1 AND updated_at < $1 AND status IN ('resolved', 'ignored') AND NOT EXISTS (
        SELECT FROM sextant.drift_recommendations r
        WHERE r.tenant_id = one.tenant_id AND r.drift_id = one.drift_id AND r.updated_at >= $1)
    ORDER BY created_at LIMIT $2
) old
WHERE e.tenant_id = old.tenant_id AND e.drift_id = old.drift_id
    AND e.updated_at < $1 AND e.status IN ('resolved', 'ignored')

-- name: instances
-- Instances of any tenant that no source has seen since then, as said twice for one that is seen meanwhile. All are
-- looked at, once an hour: an index would be written to with each look of a source at its instances.
DELETE FROM sextant.instances i
USING (SELECT id FROM sextant.instances WHERE last_seen_at < $1 ORDER BY id LIMIT $2) old
WHERE i.id = old.id AND i.last_seen_at < $1
