-- name: list
-- A tenant's alert rules.
SELECT id, origin, rule, revision, created_at, updated_at
FROM sextant.alert_rules WHERE tenant_id = $1 ORDER BY name COLLATE "C"

-- name: get
-- One rule.
SELECT id, origin, rule, revision, created_at, updated_at
FROM sextant.alert_rules WHERE tenant_id = $1 AND id = $2::bigint

-- name: lock
-- One rule, to be changed.
SELECT id, origin, rule, revision, created_at, updated_at
FROM sextant.alert_rules WHERE tenant_id = $1 AND id = $2::bigint FOR UPDATE

-- name: lock_named
-- The rule of a name, to be changed.
SELECT id, origin, rule, revision, created_at, updated_at
FROM sextant.alert_rules WHERE tenant_id = $1 AND name = $2 FOR UPDATE

-- name: lock_detection
-- The rule that follows detection's settings, to be changed.
SELECT id, origin, rule, revision, created_at, updated_at
FROM sextant.alert_rules WHERE tenant_id = $1 AND origin = 'detection' FOR UPDATE

-- name: create_detection
-- That rule, unless it is there or its name is taken.
INSERT INTO sextant.alert_rules (tenant_id, name, origin, rule) VALUES ($1, $2, 'detection', $3)
ON CONFLICT DO NOTHING RETURNING id

-- name: create
-- A new rule.
INSERT INTO sextant.alert_rules (tenant_id, name, origin, rule)
VALUES ($1, $2, $3, $4) RETURNING id, origin, rule, revision, created_at, updated_at

-- name: replace
-- A rule's new text.
UPDATE sextant.alert_rules SET name = $3, rule = $4, revision = revision + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2 RETURNING id, origin, rule, revision, created_at, updated_at

-- name: delete
-- Removes a rule.
DELETE FROM sextant.alert_rules WHERE tenant_id = $1 AND id = $2

-- name: bump_revision
-- Makes evaluation look at rules and requests to close again.
UPDATE sextant.alert_revision SET revision = revision + 1
