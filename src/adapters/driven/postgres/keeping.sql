-- name: newest_of
-- The newest settled sample of each of these series, from a time on.
SELECT count(*) AS n,
    string_agg(int4send(series_id), ''::bytea) AS series_ids,
    string_agg(timestamptz_send(ts), ''::bytea) AS ts
FROM (
    SELECT series_id, max(ts) AS ts FROM sextant.samples
    WHERE series_id = ANY($1::integer[]) AND ts >= $2
    GROUP BY series_id
) newest

-- name: extend_settled_until
-- Moves the newest settled timestamp of tenants forward.
INSERT INTO sextant.settled_until (tenant_id, ts)
SELECT s.tenant_id, s.ts FROM unnest($1::integer[], $2::timestamptz[]) AS s (tenant_id, ts)
ON CONFLICT (tenant_id) DO UPDATE SET ts = greatest(settled_until.ts, excluded.ts)

-- name: next_epoch
-- Tells readers that the settled part has changed.
UPDATE sextant.settle_epoch SET epoch = epoch + 1

-- name: mark_seen
-- The last day on which a series had a sample settled.
UPDATE sextant.series SET seen_on = current_date WHERE id = ANY($1::integer[]) AND seen_on < current_date

-- name: recount_series
-- Active series: seen or created since a day.
UPDATE sextant.tenant_catalogs c SET series_active = (
    SELECT count(*) FROM sextant.series s WHERE s.tenant_id = c.tenant_id AND s.seen_on >= $1
)

-- name: retentions
-- Retention of every definition.
SELECT tenant_id, name, retention_days FROM sextant.metric_definitions

-- name: series_of_names
-- The series that a definition covers.
SELECT id FROM sextant.series WHERE tenant_id = $1 AND name = $2

-- name: expired_series
-- Series that no definition covers, of a tenant.
SELECT s.id FROM sextant.series s
WHERE s.tenant_id = $1
    AND NOT EXISTS (SELECT FROM sextant.metric_definitions d WHERE d.tenant_id = s.tenant_id AND d.name = s.name)

-- name: delete_expired
-- Samples of these series from before a cutoff.
DELETE FROM sextant.samples WHERE tenant_id = $1 AND series_id = ANY($2::integer[]) AND ts < $3

-- name: counts
-- What the catalog and the store hold.
SELECT
    (SELECT count(*) FROM sextant.tenants) AS tenants,
    (SELECT count(*) FROM sextant.series) AS series,
    (SELECT count(*) FROM sextant.samples) AS samples,
    least((SELECT min(ts) FROM sextant.samples), (SELECT min(ts_min) FROM sextant.journal)) AS oldest,
    greatest((SELECT max(ts) FROM sextant.samples), (SELECT max(ts_max) FROM sextant.journal)) AS newest,
    -- A row of these columns with its line pointer, as it stands in a plain table.
    (SELECT avg(pg_column_size(s.*)) + 4 FROM (SELECT * FROM sextant.samples LIMIT 1000) s)::float8 AS row_bytes,
    (SELECT max(number) FROM sextant.migrations) AS schema_version,
    current_setting('server_version') AS server_version

-- name: tenant_ids
-- All tenants.
SELECT id FROM sextant.tenants ORDER BY id

-- name: oldest_expired
-- The oldest sample of these series from before a cutoff.
SELECT min(ts) FROM sextant.samples WHERE tenant_id = $1 AND series_id = ANY($2::integer[]) AND ts < $3
