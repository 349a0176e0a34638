-- name: list
-- A tenant's service graph, ascending.
SELECT client, server FROM sextant.service_dependencies
WHERE tenant_id = $1 ORDER BY client COLLATE "C", server COLLATE "C"

-- name: lock
-- One replacement of a tenant's graph at a time, to the end of the transaction: two at once would leave a mixture.
SELECT pg_advisory_xact_lock(hashtext('sextant.service_dependencies'), $1)

-- name: remove
-- Edges of a tenant that are no longer declared.
DELETE FROM sextant.service_dependencies d
WHERE d.tenant_id = $1
    AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS e (client, server)
        WHERE e.client = d.client AND e.server = d.server)

-- name: add
-- Edges that were not declared before.
INSERT INTO sextant.service_dependencies (tenant_id, client, server)
SELECT $1, e.client, e.server FROM unnest($2::text[], $3::text[]) AS e (client, server)
ON CONFLICT DO NOTHING
