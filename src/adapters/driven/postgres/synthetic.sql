-- name: request
-- A new purge, unless one waits.
INSERT INTO sextant.synthetic_purges (tenant_id, requested_at, requested_by) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id) WHERE finished_at IS NULL DO NOTHING
RETURNING id, requested_at, requested_by, finished_at, samples, events, anomalies, incidents

-- name: waiting_of
-- The purge that a tenant waits for.
SELECT id, requested_at, requested_by, finished_at, samples, events, anomalies, incidents
FROM sextant.synthetic_purges WHERE tenant_id = $1 AND finished_at IS NULL

-- name: get
-- One purge.
SELECT id, requested_at, requested_by, finished_at, samples, events, anomalies, incidents
FROM sextant.synthetic_purges WHERE tenant_id = $1 AND id = $2::bigint

-- name: close_alerts
-- Notes on the targets of a tenant's synthetic alerts that their episodes are to end.
UPDATE sextant.alert_states s SET close_requested_by = $2
FROM sextant.alerts a
WHERE a.tenant_id = $1 AND a.state <> 'resolved' AND a.labels @> '{"synthetic": "true"}'
    AND s.tenant_id = a.tenant_id AND s.rule_id = a.rule_id AND s.target_key = a.target_key
    AND (s.state ->> 'episode')::integer = a.episode AND s.state ->> 'phase' <> 'inactive'
    AND s.close_requested_by IS NULL

-- name: waiting
-- Purges to do.
SELECT id FROM sextant.synthetic_purges WHERE finished_at IS NULL ORDER BY id

-- name: lock
-- A purge to do, unless somebody does it at this moment.
SELECT tenant_id, requested_by FROM sextant.synthetic_purges WHERE id = $1 AND finished_at IS NULL
FOR UPDATE SKIP LOCKED

-- name: detects
-- Whether a run of detection may still write what it made of synthetic samples.
SELECT EXISTS (
    SELECT FROM sextant.detection_runs WHERE tenant_id = $1 AND state = 'running' AND leased_until > $2
)

-- name: fence
-- Ends the claims that have run out, and those of nobody: who only slept on one cannot write what it made of synthetic
-- samples any more.
UPDATE sextant.detection_runs SET token = gen_random_uuid() WHERE tenant_id = $1 AND state = 'running'

-- name: series
-- A tenant's synthetic series.
SELECT id FROM sextant.series WHERE tenant_id = $1 AND labels @> '{"synthetic": "true"}' ORDER BY id

-- name: unsettled
-- Every block that the settler has not moved, also those that it may not take yet.
SELECT j.writer, j.sequence
FROM sextant.journal j
LEFT JOIN sextant.journal_cursors c ON c.consumer = 'settler' AND c.writer = j.writer
WHERE j.sequence > coalesce(c.sequence, 0)
ORDER BY j.writer, j.sequence

-- name: delete_samples
-- The samples of these series.
DELETE FROM sextant.samples WHERE tenant_id = $1 AND series_id = ANY($2::integer[])

-- name: delete_events
-- A tenant's synthetic events.
DELETE FROM sextant.signal_events WHERE tenant_id = $1 AND synthetic

-- name: delete_anomalies
-- A tenant's anomalies of synthetic series.
DELETE FROM sextant.anomalies WHERE tenant_id = $1 AND synthetic

-- name: delete_risks
-- What was published of them.
DELETE FROM sextant.published_risks WHERE tenant_id = $1 AND labels @> '{"synthetic": "true"}'

-- name: delete_incidents
-- A tenant's synthetic incidents, but for those into which somebody merged a real one.
DELETE FROM sextant.incidents i
WHERE i.tenant_id = $1 AND i.synthetic
    AND NOT EXISTS (SELECT FROM sextant.incidents m WHERE m.merged_into = i.id AND NOT m.synthetic)

-- name: delete_instances
-- A tenant's synthetic instances.
DELETE FROM sextant.instances WHERE tenant_id = $1 AND synthetic

-- name: delete_checkpoints
-- How far collecting made-up data once had come: asked for again, all of it is made up again. Stored sources go on.
DELETE FROM sextant.collection_checkpoints c
WHERE c.tenant_id = $1 AND EXISTS (
    SELECT FROM sextant.collection_runs r
    WHERE r.tenant_id = c.tenant_id AND r.scope = c.scope AND r.kind = 'synthetic' AND r.source_id IS NULL
)

-- name: delete_capacity
-- A tenant's synthetic capacity snapshots.
DELETE FROM sextant.drift_cluster_capacity_snapshots WHERE tenant_id = $1 AND synthetic

-- name: delete_config_changes
-- A tenant's changes of synthetic workloads.
DELETE FROM sextant.config_changes WHERE tenant_id = $1 AND synthetic

-- name: delete_drift
-- A tenant's synthetic drift events, with whatever recommendations they have.
DELETE FROM sextant.drift_events WHERE tenant_id = $1 AND synthetic

-- name: delete_recommendations
-- A tenant's other synthetic recommendations.
DELETE FROM sextant.drift_recommendations WHERE tenant_id = $1 AND synthetic

-- name: pass_alerts
-- A tenant's synthetic alerts are no longer signals of incidents to come.
UPDATE sextant.alerts SET correlated = true
WHERE tenant_id = $1 AND fired_at IS NOT NULL AND NOT correlated AND labels @> '{"synthetic": "true"}'

-- name: finish
-- A purge's outcome.
UPDATE sextant.synthetic_purges
SET finished_at = $2, samples = $3, events = $4, anomalies = $5, incidents = $6 WHERE id = $1
