-- name: list
-- A tenant's instances by id, past a position; what is null filters nothing.
SELECT id, provider, external_id, kind, region, name, tags, first_seen_at, last_seen_at, synthetic
FROM sextant.instances
WHERE tenant_id = $1 AND ($2::bigint IS NULL OR id > $2) AND ($3::text IS NULL OR provider = $3)
    AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR region = $5) AND ($6::jsonb IS NULL OR tags @> $6)
    AND ($7::timestamptz IS NULL OR last_seen_at >= $7)
ORDER BY id LIMIT $8

-- name: get
-- One instance.
SELECT id, provider, external_id, kind, region, name, tags, first_seen_at, last_seen_at, synthetic
FROM sextant.instances WHERE tenant_id = $1 AND id = $2::bigint
