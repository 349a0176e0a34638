-- name: list
-- A tenant's sources, without their credentials.
SELECT id, spec, credential_names, revision, next_run_at, created_at, updated_at
FROM sextant.metric_sources WHERE tenant_id = $1 ORDER BY name COLLATE "C"

-- name: get
-- One source.
SELECT id, spec, credential_names, revision, next_run_at, created_at, updated_at
FROM sextant.metric_sources WHERE tenant_id = $1 AND name = $2

-- name: lock
-- Whoever adds a source waits for the others who do: all of them are counted.
SELECT pg_advisory_xact_lock(hashtext('sextant.metric_sources'), $1)

-- name: count
-- How many sources a tenant has.
SELECT count(*) FROM sextant.metric_sources WHERE tenant_id = $1

-- name: create
-- A new source.
INSERT INTO sextant.metric_sources (tenant_id, name, spec, credential_names, credentials, next_run_at, created_at,
    updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
RETURNING id, spec, credential_names, revision, next_run_at, created_at, updated_at

-- name: lock_revision
-- Which revision of a source is to be changed.
SELECT revision FROM sextant.metric_sources WHERE tenant_id = $1 AND name = $2 FOR UPDATE

-- name: replace
-- A source's new settings; its credentials stay, unread.
UPDATE sextant.metric_sources
SET name = $3, spec = $4, next_run_at = $5, updated_at = $6, revision = revision + 1
WHERE tenant_id = $1 AND name = $2
RETURNING id, spec, credential_names, revision, next_run_at, created_at, updated_at

-- name: replace_with_credentials
-- A source's new settings and credentials.
UPDATE sextant.metric_sources
SET name = $3, spec = $4, next_run_at = $5, updated_at = $6, revision = revision + 1, credential_names = $7,
    credentials = $8
WHERE tenant_id = $1 AND name = $2
RETURNING id, spec, credential_names, revision, next_run_at, created_at, updated_at

-- name: delete
-- Removes a source; its runs stay without it.
DELETE FROM sextant.metric_sources WHERE tenant_id = $1 AND name = $2 RETURNING id

-- name: delete_checkpoints
-- Removes what a deleted source's runs had noted.
DELETE FROM sextant.collection_checkpoints WHERE tenant_id = $1 AND scope = $2
