-- name: add
-- New recommendations; those whose id is known stay as they are.
INSERT INTO sextant.drift_recommendations (tenant_id, rec_id, drift_id, cluster_id, env, drift_date, recommendation_type,
    recommendation_json, estimated_savings_usd, auto_approved, decision, decided_at, decided_by, reason, automatic,
    synthetic, created_at, updated_at)
SELECT $1, r.rec_id, r.drift_id, r.cluster_id, r.env, r.drift_date, r.recommendation_type, r.recommendation_json,
    r.estimated_savings_usd, r.auto_approved, r.decision, r.decided_at, r.decided_by, r.reason, r.automatic, r.synthetic,
    r.created_at, r.updated_at
FROM jsonb_to_recordset($2::jsonb) AS r (
    rec_id text, drift_id text, cluster_id text, env text, drift_date date, recommendation_type text,
    recommendation_json jsonb, estimated_savings_usd double precision, auto_approved boolean, decision text,
    decided_at timestamptz, decided_by text, reason text, automatic boolean, synthetic boolean, created_at timestamptz,
    updated_at timestamptz)
ORDER BY r.rec_id
ON CONFLICT (tenant_id, rec_id) DO NOTHING
RETURNING rec_id

-- name: reopen
-- What is undecided again now that detection proposes it: what $3 withdrew, and what was approved in another form and
-- was applied in vain (a state of $4), or not at all since $5.
UPDATE sextant.drift_recommendations old
SET decision = NULL, decided_at = NULL, decided_by = NULL, reason = NULL, applying_id = NULL, updated_at = r.updated_at
FROM jsonb_to_recordset($2::jsonb) AS r (
    rec_id text, drift_id text, recommendation_type text, recommendation_json jsonb, updated_at timestamptz)
WHERE old.tenant_id = $1 AND old.rec_id = r.rec_id AND old.drift_id = r.drift_id AND old.automatic
    AND CASE old.decision
        WHEN 'rejected' THEN old.decided_by = $3
        WHEN 'approved' THEN
            (old.recommendation_type, old.recommendation_json)
                IS DISTINCT FROM (r.recommendation_type, r.recommendation_json)
            AND CASE
                WHEN old.applying_id IS NULL THEN old.decided_at <= $5
                ELSE EXISTS (
                    SELECT FROM sextant.remediations m
                    WHERE m.tenant_id = $1 AND m.id = old.applying_id AND m.state = ANY ($4::text[])
                )
            END
    END

-- name: withdraw
-- What detection proposed and does not propose any more, though its drift goes on.
UPDATE sextant.drift_recommendations
SET decision = 'rejected', decided_at = $3, decided_by = $4, reason = $5, updated_at = $3
WHERE tenant_id = $1 AND drift_id = ANY ($2::text[]) AND automatic AND decision IS NULL

-- name: renew
-- What detection proposes by now, in place of what it proposed before and nobody has decided on. What it would save
-- moves with every look, and is no other proposal.
UPDATE sextant.drift_recommendations old
SET recommendation_type = r.recommendation_type, recommendation_json = r.recommendation_json,
    estimated_savings_usd = r.estimated_savings_usd,
    updated_at = CASE
        WHEN (old.recommendation_type, old.recommendation_json) = (r.recommendation_type, r.recommendation_json)
            THEN old.updated_at
        ELSE r.updated_at
    END
FROM jsonb_to_recordset($2::jsonb) AS r (
    rec_id text, drift_id text, recommendation_type text, recommendation_json jsonb,
    estimated_savings_usd double precision, updated_at timestamptz)
WHERE old.tenant_id = $1 AND old.rec_id = r.rec_id AND old.drift_id = r.drift_id AND old.automatic
    AND old.decision IS NULL
    AND (old.recommendation_type, old.recommendation_json, old.estimated_savings_usd)
        IS DISTINCT FROM (r.recommendation_type, r.recommendation_json, r.estimated_savings_usd)

-- name: lock
-- A recommendation, which nobody else decides on or applies before the transaction ends.
SELECT decision FROM sextant.drift_recommendations WHERE tenant_id = $1 AND rec_id = $2 FOR UPDATE

-- name: get
-- One recommendation, with what its remediations make of it: $3 says it for each state of one that is no dry run.
SELECT r.cluster_id, r.env, r.drift_date, r.drift_id, r.rec_id, r.recommendation_type, r.recommendation_json,
    r.estimated_savings_usd, r.auto_approved, r.decision,
    CASE WHEN r.decision = 'rejected' THEN 'rejected'
        ELSE coalesce($3::jsonb ->> applying.state, r.decision, 'proposed') END AS state,
    r.automatic, r.synthetic, r.created_at, r.updated_at, r.decided_at, r.decided_by, r.reason, r.remediation_id,
    last.dry_run, last.state AS remediation_state,
    CASE WHEN applying.state = 'succeeded' THEN applying.finished_at END AS applied_at
FROM sextant.drift_recommendations r
LEFT JOIN sextant.remediations last ON last.tenant_id = r.tenant_id AND last.id = r.remediation_id
LEFT JOIN sextant.remediations applying ON applying.tenant_id = r.tenant_id AND applying.id = r.applying_id
WHERE r.tenant_id = $1 AND r.rec_id = $2

-- name: list
-- A tenant's recommendations in the same way, newest first, below a position; what is null filters nothing.
SELECT r.cluster_id, r.env, r.drift_date, r.drift_id, r.rec_id, r.recommendation_type, r.recommendation_json,
    r.estimated_savings_usd, r.auto_approved, r.decision, shown.state,
    r.automatic, r.synthetic, r.created_at, r.updated_at, r.decided_at, r.decided_by, r.reason, r.remediation_id,
    last.dry_run, last.state AS remediation_state,
    CASE WHEN applying.state = 'succeeded' THEN applying.finished_at END AS applied_at
FROM sextant.drift_recommendations r
LEFT JOIN sextant.remediations last ON last.tenant_id = r.tenant_id AND last.id = r.remediation_id
LEFT JOIN sextant.remediations applying ON applying.tenant_id = r.tenant_id AND applying.id = r.applying_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN r.decision = 'rejected' THEN 'rejected'
        ELSE coalesce($2::jsonb ->> applying.state, r.decision, 'proposed') END AS state
) shown
WHERE r.tenant_id = $1
    AND ($3::timestamptz IS NULL OR (r.created_at, r.rec_id) < ($3, $4::text))
    AND ($5::text IS NULL OR r.cluster_id = $5)
    AND ($6::text IS NULL OR r.env = $6)
    AND ($7::text IS NULL OR r.drift_id = $7)
    AND ($8::text IS NULL OR r.recommendation_type = $8)
    AND ($9::text IS NULL OR shown.state = $9)
ORDER BY r.created_at DESC, r.rec_id DESC LIMIT $10

-- name: decide
-- What somebody says of a recommendation.
UPDATE sextant.drift_recommendations
SET decision = $3, decided_at = $6, decided_by = $4, reason = $5, updated_at = $6
WHERE tenant_id = $1 AND rec_id = $2

-- name: remediate
-- Into the outbox of workflows to start.
INSERT INTO sextant.remediations (tenant_id, recommendation, rule_name, policy_id, policy_name, workflow_id, dry_run,
    alert, rule, policy, created_at, next_attempt_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
RETURNING id

-- name: link
-- The remediation of a recommendation from now on.
UPDATE sextant.drift_recommendations
SET remediation_id = $3::bigint, applying_id = CASE WHEN $4::boolean THEN applying_id ELSE $3 END, updated_at = $5
WHERE tenant_id = $1 AND rec_id = $2
