-- name: list
-- A tenant's policies.
SELECT id, policy, secret_names, revision, created_at, updated_at
FROM sextant.remediation_policies WHERE tenant_id = $1 ORDER BY name COLLATE "C"

-- name: get
-- One policy.
SELECT id, policy, secret_names, revision, created_at, updated_at
FROM sextant.remediation_policies WHERE tenant_id = $1 AND id = $2::bigint

-- name: create
-- A new policy.
INSERT INTO sextant.remediation_policies (tenant_id, name, policy, secrets, secret_names)
VALUES ($1, $2, $3, $4, $5) RETURNING id, policy, secret_names, revision, created_at, updated_at

-- name: replace
-- A policy's new text; its secrets stay, unread.
UPDATE sextant.remediation_policies SET name = $3, policy = $4, revision = revision + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2::bigint
RETURNING id, policy, secret_names, revision, created_at, updated_at

-- name: replace_with_secrets
-- A policy's new text and secrets.
UPDATE sextant.remediation_policies SET name = $3, policy = $4, secrets = $5, secret_names = $6,
    revision = revision + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2::bigint
RETURNING id, policy, secret_names, revision, created_at, updated_at

-- name: delete
-- Removes a policy.
DELETE FROM sextant.remediation_policies WHERE tenant_id = $1 AND id = $2::bigint RETURNING id

-- name: secrets
-- A policy's secrets, which only the keeper may read.
SELECT secrets FROM sextant.remediation_policies WHERE tenant_id = $1 AND id = $2::bigint
