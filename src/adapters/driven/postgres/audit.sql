-- name: lock_head
-- The end of a tenant's chain; whoever reads it so is the next to append.
SELECT sequence, hash FROM sextant.audit_heads WHERE tenant_id = $1 FOR UPDATE

-- name: begin_chain
-- Where a tenant's first entry will follow, unless another has begun the chain.
INSERT INTO sextant.audit_heads (tenant_id, sequence, hash) VALUES ($1, 0, $2) ON CONFLICT (tenant_id) DO NOTHING

-- name: with_key
-- The entry with this key.
SELECT sequence, key, at, record, alert_id, remediation_id, previous, hash
FROM sextant.audit_entries WHERE tenant_id = $1 AND key = $2

-- name: append
-- A new link and, with it, the new end.
WITH moved AS (UPDATE sextant.audit_heads SET sequence = $2, hash = $9 WHERE tenant_id = $1)
INSERT INTO sextant.audit_entries (tenant_id, sequence, key, at, record, alert_id, remediation_id, previous, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: list
-- Entries past a sequence, of an alert and of a remediation where these are given.
SELECT sequence, key, at, record, alert_id, remediation_id, previous, hash
FROM sextant.audit_entries
WHERE tenant_id = $1 AND ($2::bigint IS NULL OR alert_id = $2) AND ($3::bigint IS NULL OR remediation_id = $3)
    AND ($4::bigint IS NULL OR sequence > $4)
ORDER BY sequence LIMIT $5

-- name: list_newest_first
-- The same, those before the sequence, from the end.
SELECT sequence, key, at, record, alert_id, remediation_id, previous, hash
FROM sextant.audit_entries
WHERE tenant_id = $1 AND ($2::bigint IS NULL OR alert_id = $2) AND ($3::bigint IS NULL OR remediation_id = $3)
    AND ($4::bigint IS NULL OR sequence < $4)
ORDER BY sequence DESC LIMIT $5

-- name: chain
-- All of a tenant's entries.
SELECT sequence, key, at, record, alert_id, remediation_id, previous, hash
FROM sextant.audit_entries WHERE tenant_id = $1 ORDER BY sequence

-- name: head
-- The end of a tenant's chain.
SELECT sequence, hash FROM sextant.audit_heads WHERE tenant_id = $1
