-- name: list
-- A tenant's channels, without their secrets.
SELECT id, config, secrets_set, enabled, disabled_reason, created_at, updated_at
FROM sextant.channels WHERE tenant_id = $1 ORDER BY name COLLATE "C"

-- name: get
-- One channel.
SELECT id, config, secrets_set, enabled, disabled_reason, created_at, updated_at
FROM sextant.channels WHERE tenant_id = $1 AND id = $2::bigint

-- name: create
-- A new channel.
INSERT INTO sextant.channels (tenant_id, name, type, config, enabled, secrets)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, config, secrets_set, enabled, disabled_reason, created_at, updated_at

-- name: lock_type
-- What kind of channel is to be changed.
SELECT type FROM sextant.channels WHERE tenant_id = $1 AND id = $2::bigint FOR UPDATE

-- name: replace
-- A channel's new settings; its secrets stay, unread.
UPDATE sextant.channels SET name = $3, config = $4, enabled = $5,
    disabled_reason = CASE WHEN NOT $5 THEN disabled_reason END, updated_at = now()
WHERE tenant_id = $1 AND id = $2::bigint
RETURNING id, config, secrets_set, enabled, disabled_reason, created_at, updated_at

-- name: replace_with_secrets
-- A channel's new settings and secrets.
UPDATE sextant.channels SET name = $3, config = $4, enabled = $5, secrets = $6,
    disabled_reason = CASE WHEN NOT $5 THEN disabled_reason END, updated_at = now()
WHERE tenant_id = $1 AND id = $2::bigint
RETURNING id, config, secrets_set, enabled, disabled_reason, created_at, updated_at

-- name: delete
-- Removes a channel; its notifications go with it.
DELETE FROM sextant.channels WHERE tenant_id = $1 AND id = $2::bigint RETURNING id

-- name: secrets
-- A channel's secrets, which only the keeper may read.
SELECT secrets FROM sextant.channels WHERE tenant_id = $1 AND id = $2::bigint

-- name: disable
-- Gives a channel up; the first reason stays.
UPDATE sextant.channels SET enabled = false, disabled_reason = coalesce(disabled_reason, $3), updated_at = now()
WHERE tenant_id = $1 AND id = $2::bigint RETURNING id
