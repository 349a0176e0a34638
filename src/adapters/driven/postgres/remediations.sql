-- name: list
-- A tenant's remediations, newest first, of one state, of one alert and below an id where these are given.
SELECT id, alert_id, rule_name, policy_name, workflow_id, state, dry_run, detail, created_at, started_at, finished_at,
    attempts, last_error, recommendation
FROM sextant.remediations
WHERE tenant_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR alert_id = $3)
    AND ($4::bigint IS NULL OR id < $4)
ORDER BY id DESC LIMIT $5

-- name: get
-- One remediation.
SELECT id, alert_id, rule_name, policy_name, workflow_id, state, dry_run, detail, created_at, started_at, finished_at,
    attempts, last_error, recommendation
FROM sextant.remediations WHERE tenant_id = $1 AND id = $2

-- name: order
-- What a remediation's workflow works from.
SELECT r.id, r.tenant_id, t.name AS tenant, r.workflow_id, r.alert, r.rule, r.policy_id, r.policy
FROM sextant.remediations r JOIN sextant.tenants t ON t.id = r.tenant_id
WHERE r.tenant_id = $1 AND r.id = $2

-- name: progress
-- Where a remediation now stands ($6: it has ended), unless it ended before.
UPDATE sextant.remediations SET state = $3, detail = $4,
    started_at = CASE WHEN $6 THEN started_at ELSE coalesce(started_at, $5) END,
    finished_at = CASE WHEN $6 THEN $5 END
WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL RETURNING id

-- name: waiting
-- How many wait for their workflow, of one tenant or all.
SELECT count(*) FROM sextant.remediations WHERE state = 'waiting' AND ($1::integer IS NULL OR tenant_id = $1)

-- name: claim
-- Takes due remediations that nobody else is taking, until $2, and counts the attempt.
WITH due AS MATERIALIZED (
    SELECT id FROM sextant.remediations WHERE state = 'waiting' AND next_attempt_at <= $1
    ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE sextant.remediations r SET attempts = r.attempts + 1, next_attempt_at = $2
    FROM due WHERE r.id = due.id
    RETURNING r.id, r.tenant_id, r.workflow_id, r.alert, r.rule, r.policy_id, r.policy
)
SELECT c.id, c.tenant_id, t.name AS tenant, c.workflow_id, c.alert, c.rule, c.policy_id, c.policy
FROM claimed c JOIN sextant.tenants t ON t.id = c.tenant_id ORDER BY c.id

-- name: confirm
-- A remediation's workflow was started; where it got further meanwhile, it stays there.
UPDATE sextant.remediations SET state = CASE WHEN state = 'waiting' THEN 'running' ELSE state END,
    started_at = coalesce(started_at, least($3, finished_at)), last_error = NULL
WHERE tenant_id = $1 AND id = $2

-- name: postpone
-- A remediation's workflow could not be started.
UPDATE sextant.remediations SET last_error = $3, next_attempt_at = $4
WHERE tenant_id = $1 AND id = $2 AND state = 'waiting'
