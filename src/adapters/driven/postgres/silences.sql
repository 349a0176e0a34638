-- name: silences
-- A tenant's silences, all ($2 is null) or those that have not ended by then.
SELECT id, matchers, starts_at, ends_at, author, reason, created_at
FROM sextant.silences WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR ends_at > $2) ORDER BY id

-- name: silence
-- One silence.
SELECT id, matchers, starts_at, ends_at, author, reason, created_at
FROM sextant.silences WHERE tenant_id = $1 AND id = $2::bigint

-- name: lock_silence
-- One silence, to be changed.
SELECT id, matchers, starts_at, ends_at, author, reason, created_at
FROM sextant.silences WHERE tenant_id = $1 AND id = $2::bigint FOR UPDATE

-- name: create_silence
-- A new silence.
INSERT INTO sextant.silences (tenant_id, matchers, starts_at, ends_at, author, reason, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id, matchers, starts_at, ends_at, author, reason, created_at

-- name: replace_silence
-- A silence's new terms.
UPDATE sextant.silences SET matchers = $3, starts_at = $4, ends_at = $5, reason = $6
WHERE tenant_id = $1 AND id = $2 RETURNING id, matchers, starts_at, ends_at, author, reason, created_at

-- name: end_silence
-- Ends a silence; one that has not begun never will, one that has ended keeps its time.
UPDATE sextant.silences SET starts_at = least(starts_at, $3), ends_at = least(ends_at, $3)
WHERE tenant_id = $1 AND id = $2::bigint RETURNING id

-- name: inhibitions
-- A tenant's inhibitions.
SELECT id, spec, created_at FROM sextant.inhibitions WHERE tenant_id = $1 ORDER BY name COLLATE "C"

-- name: create_inhibition
-- A new inhibition.
INSERT INTO sextant.inhibitions (tenant_id, name, spec) VALUES ($1, $2, $3) RETURNING id, spec, created_at

-- name: delete_inhibition
-- Removes an inhibition.
DELETE FROM sextant.inhibitions WHERE tenant_id = $1 AND id = $2::bigint RETURNING id
