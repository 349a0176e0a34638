-- name: find
-- The ids of series that exist.
SELECT digest, id FROM sextant.series WHERE tenant_id = $1 AND digest = ANY($2::bytea[])

-- name: lock_catalog
-- One creator a tenant at a time, so that the limit is exact and no insert conflicts.
SELECT series_active FROM sextant.tenant_catalogs WHERE tenant_id = $1 FOR UPDATE

-- name: create
-- New series.
INSERT INTO sextant.series (tenant_id, name, labels, source, digest)
SELECT $1, n.name, n.labels::jsonb, n.source, n.digest
FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) AS n (name, labels, source, digest)
RETURNING digest, id

-- name: count_created
-- Makes readers look at the catalog again, and counts towards the limit.
UPDATE sextant.tenant_catalogs SET revision = revision + 1, series_active = series_active + $2 WHERE tenant_id = $1

-- name: worst_label
-- The label with the most distinct values, among the newest series: the one that explodes.
SELECT label, count(DISTINCT value) AS values
FROM (SELECT labels FROM sextant.series WHERE tenant_id = $1 ORDER BY id DESC LIMIT 20000) newest,
    jsonb_each_text(newest.labels) AS pair (label, value)
GROUP BY label ORDER BY count(DISTINCT value) DESC, label LIMIT 1

-- name: series_of_name
-- Series of one metric that carry these labels.
SELECT id, labels, source FROM sextant.series
WHERE tenant_id = $1 AND name = $2 AND labels @> $3::jsonb
ORDER BY id LIMIT $4

-- name: names
-- Metric names by prefix, ascending, by skipping from name to name in the index.
WITH RECURSIVE found AS (
    (SELECT name FROM sextant.series WHERE tenant_id = $1 AND name >= $2 ORDER BY name LIMIT 1)
    UNION ALL
    SELECT (SELECT s.name FROM sextant.series s WHERE s.tenant_id = $1 AND s.name > found.name ORDER BY s.name LIMIT 1)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL AND starts_with(name, $2) LIMIT $3

-- name: label_names
-- Names of labels in use.
SELECT DISTINCT jsonb_object_keys(labels) AS label FROM sextant.series WHERE tenant_id = $1 ORDER BY 1 LIMIT $2

-- name: label_values
-- Values of one label.
SELECT DISTINCT labels ->> $2 AS value FROM sextant.series WHERE tenant_id = $1 AND labels ? $2 ORDER BY 1 LIMIT $3
