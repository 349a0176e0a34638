-- name: try_lead
-- The lock of the one that evaluates; it goes with the connection.
SELECT pg_try_advisory_lock(hashtext('sextant.alerts'), 0)

-- name: stop_leading
-- Lets another one lead at once.
SELECT pg_advisory_unlock(hashtext('sextant.alerts'), 0)

-- name: begin_term
-- Ends every other term, even one whose process does not know yet that its connection is gone.
UPDATE sextant.alert_leader SET generation = generation + 1 RETURNING generation

-- name: close_terms
-- Waits for transactions of terms under way, and keeps new ones waiting until this one ends.
SELECT pg_advisory_xact_lock(hashtext('sextant.alerts'), 1)

-- name: hold_term
-- Nobody begins another term before this transaction ends; unlike a row lock it writes nothing.
SELECT pg_advisory_xact_lock_shared(hashtext('sextant.alerts'), 1)

-- name: forget_orphans
-- States of rules that were deleted, once their episodes have ended.
DELETE FROM sextant.alert_states s
WHERE s.state ->> 'phase' = 'inactive' AND NOT EXISTS (SELECT FROM sextant.alert_rules r WHERE r.id = s.rule_id)

-- name: rules
-- All enabled rules.
SELECT tenant_id, id, revision, rule FROM sextant.alert_rules
WHERE coalesce((rule ->> 'enabled')::boolean, true)
ORDER BY id

-- name: states
-- All targets that are, or were, more than inactive.
SELECT tenant_id, rule_id, target_key, state, labels, subject, announced, close_requested_by IS NOT NULL AS close_requested
FROM sextant.alert_states

-- name: series
-- Series of any tenant by id.
SELECT id, tenant_id, name, labels FROM sextant.series WHERE id = ANY ($1::integer[])

-- name: series_of
-- All series of one metric.
SELECT id, tenant_id, name, labels FROM sextant.series WHERE tenant_id = $1 AND name = $2

-- name: last_series
-- The highest id of any series.
SELECT coalesce(max(id), 0) FROM sextant.series

-- name: unread
-- Blocks past the cursor, in commit order as far as commits did not overlap; each stream's without gaps.
SELECT j.writer, j.sequence, j.points
FROM sextant.journal_streams s
LEFT JOIN sextant.journal_cursors c ON c.consumer = $1 AND c.writer = s.writer
CROSS JOIN LATERAL (
    SELECT writer, sequence, points, commit_order
    FROM sextant.journal
    WHERE writer = s.writer AND sequence > coalesce(c.sequence, 0)
    ORDER BY sequence
    LIMIT 20000
) j
ORDER BY j.commit_order, j.writer, j.sequence

-- name: sweep
-- Deletes blocks that every consumer has passed, where evaluation was the last to; the settler, which deletes most, is not
-- waited for.
WITH passed AS (
    SELECT stream.writer, min(coalesce(c.sequence, 0)) AS sequence
    FROM (SELECT DISTINCT writer FROM sextant.journal) stream
    CROSS JOIN sextant.journal_consumers n
    LEFT JOIN sextant.journal_cursors c ON c.consumer = n.consumer AND c.writer = stream.writer
    GROUP BY stream.writer
), gone AS (
    SELECT j.writer, j.sequence
    FROM sextant.journal j JOIN passed ON passed.writer = j.writer AND j.sequence <= passed.sequence
    FOR UPDATE OF j SKIP LOCKED
)
DELETE FROM sextant.journal j USING gone WHERE j.writer = gone.writer AND j.sequence = gone.sequence

-- name: counters
-- The term in force, and the count of changes of rules.
SELECT l.generation, r.revision FROM sextant.alert_leader l CROSS JOIN sextant.alert_revision r

-- name: write_states
-- What targets are now.
INSERT INTO sextant.alert_states AS s (tenant_id, rule_id, target_key, state, labels, subject, announced)
SELECT n.tenant_id, n.rule_id, n.target_key, n.state, n.labels, decode(n.subject, 'hex'), n.announced
FROM jsonb_to_recordset($1::jsonb) AS n (
    tenant_id integer, rule_id integer, target_key text, state jsonb, labels jsonb, subject text, announced boolean)
ON CONFLICT (tenant_id, rule_id, target_key) DO UPDATE SET
    state = excluded.state, labels = excluded.labels, subject = excluded.subject, announced = excluded.announced,
    close_requested_by = CASE WHEN excluded.state ->> 'phase' <> 'inactive' THEN s.close_requested_by END

-- name: forget_states
-- Targets that are as if they had never been anything but inactive.
DELETE FROM sextant.alert_states s
USING unnest($1::integer[], $2::integer[], $3::text[]) AS t (tenant_id, rule_id, target_key)
WHERE s.tenant_id = t.tenant_id AND s.rule_id = t.rule_id AND s.target_key = t.target_key

-- name: write_episodes
-- Episodes as they now stand.
INSERT INTO sextant.alerts AS a (tenant_id, rule_id, target_key, episode, rule_name, metric, labels, state, severity, value,
    threshold, started_at, fired_at, resolved_at, resolution, no_data, shadow, announced, annotations, runbook_url, channels)
SELECT e.tenant_id, e.rule_id, e.target_key, e.episode, e.rule_name, e.metric, e.labels, e.state, e.severity, e.value,
    e.threshold, e.started_at, e.fired_at, e.resolved_at, e.resolution, e.no_data, e.shadow, e.announced, e.annotations,
    e.runbook_url, e.channels
FROM jsonb_to_recordset($1::jsonb) AS e (
    tenant_id integer, rule_id integer, target_key text, episode integer, rule_name text, metric text, labels jsonb,
    state text, severity text, value double precision, threshold jsonb, started_at timestamptz, fired_at timestamptz,
    resolved_at timestamptz, resolution text, no_data boolean, shadow boolean, announced boolean, annotations jsonb,
    runbook_url text, channels text[])
ON CONFLICT (tenant_id, rule_id, target_key, episode) DO UPDATE SET
    state = excluded.state,
    started_at = excluded.started_at,
    severity = coalesce(excluded.severity, a.severity),
    value = excluded.value,
    threshold = coalesce(excluded.threshold, a.threshold),
    fired_at = coalesce(a.fired_at, excluded.fired_at),
    resolved_at = excluded.resolved_at,
    resolution = excluded.resolution,
    no_data = a.no_data OR excluded.no_data,
    announced = a.announced OR excluded.announced,
    annotations = CASE WHEN excluded.annotations = '{}' THEN a.annotations ELSE excluded.annotations END
RETURNING id, tenant_id, rule_id, target_key, episode

-- name: end_episodes
-- Episodes of rules that are gone.
UPDATE sextant.alerts a
SET state = 'resolved', resolved_at = e.resolved_at, resolution = e.resolution
FROM jsonb_to_recordset($1::jsonb) AS e (
    tenant_id integer, rule_id integer, target_key text, episode integer, resolved_at timestamptz, resolution text)
WHERE a.tenant_id = e.tenant_id AND a.rule_id = e.rule_id AND a.target_key = e.target_key AND a.episode = e.episode
RETURNING a.id, a.tenant_id, a.rule_id, a.target_key, a.episode

-- name: drop_episodes
-- Episodes that never were more than pending.
DELETE FROM sextant.alerts a
USING unnest($1::integer[], $2::integer[], $3::text[], $4::integer[]) AS t (tenant_id, rule_id, target_key, episode)
WHERE a.tenant_id = t.tenant_id AND a.rule_id = t.rule_id AND a.target_key = t.target_key AND a.episode = t.episode
    AND a.state = 'pending'

-- name: write_events
-- The notification outbox: what somebody may have to be told, in order.
INSERT INTO sextant.notification_events (tenant_id, alert_id, event, channels)
SELECT a.tenant_id, a.id, t.event, a.channels
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS t (alert_id, event, place)
JOIN sextant.alerts a ON a.id = t.alert_id
ORDER BY t.place

-- name: alerts
-- Alerts by id, as they are shown.
SELECT * FROM sextant.shown_alerts WHERE id = ANY ($1::bigint[])

-- name: policies
-- Remediation policies by tenant and name.
SELECT p.tenant_id, p.id, p.name, p.policy
FROM sextant.remediation_policies p
JOIN unnest($1::integer[], $2::text[]) AS t (tenant_id, name) USING (tenant_id, name)

-- name: write_remediations
-- The outbox of workflows to start: one an episode, whatever happens.
INSERT INTO sextant.remediations (tenant_id, alert_id, rule_name, policy_id, policy_name, workflow_id, dry_run, alert, rule, policy)
SELECT r.tenant_id, r.alert_id, r.rule_name, r.policy_id, r.policy_name, r.workflow_id, r.dry_run, r.alert, r.rule, r.policy
FROM jsonb_to_recordset($1::jsonb) AS r (
    tenant_id integer, alert_id bigint, rule_name text, policy_id integer, policy_name text, workflow_id text,
    dry_run boolean, alert jsonb, rule jsonb, policy jsonb)
ON CONFLICT (alert_id) DO NOTHING
