-- name: stage
-- A place for late points, gone with the transaction.
CREATE TEMPORARY TABLE late_points (ts timestamptz, tenant_id integer, series_id integer, value double precision)
ON COMMIT DROP

-- name: delete_replaced
-- Settled samples that late points replace; bounded in time so that other chunks are left alone.
WITH gone AS (
    DELETE FROM sextant.samples s USING late_points l
    WHERE s.tenant_id = l.tenant_id AND s.series_id = l.series_id AND s.ts = l.ts AND s.ts >= $1 AND s.ts <= $2
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: add_late
-- The late points themselves.
INSERT INTO sextant.samples (ts, tenant_id, series_id, value)
SELECT ts, tenant_id, series_id, value FROM late_points ORDER BY tenant_id, series_id, ts

-- name: mark_stale
-- Stored aggregates no longer hold in these ranges.
INSERT INTO sextant.stale_aggregates (width, starts_at, ends_at)
SELECT r.width, r.starts_at, r.ends_at FROM unnest($1::interval[], $2::timestamptz[], $3::timestamptz[])
    AS r (width, starts_at, ends_at)

-- name: stale
-- Where an aggregate has to be refreshed.
SELECT id, starts_at, ends_at FROM sextant.stale_aggregates WHERE width = $1 ORDER BY starts_at

-- name: lock_refresh
-- One process refreshes at a time; held by the session, because a refresh commits as it goes.
SELECT pg_try_advisory_lock(hashtext('sextant.refresh'), 0)

-- name: unlock_refresh
-- Lets others refresh.
SELECT pg_advisory_unlock(hashtext('sextant.refresh'), 0)

-- name: unmark_stale
-- These ranges hold again.
DELETE FROM sextant.stale_aggregates WHERE id = ANY($1::bigint[])

-- name: refresh_5m
-- Brings the 5-minute aggregate up to the samples.
CALL refresh_continuous_aggregate('sextant.samples_5m', $1::timestamptz, $2::timestamptz)

-- name: refresh_1h
-- Brings the hourly aggregate up to the 5-minute one.
CALL refresh_continuous_aggregate('sextant.samples_1h', $1::timestamptz, $2::timestamptz)

-- name: refresh_1d
-- Brings the daily aggregate up to the hourly one.
CALL refresh_continuous_aggregate('sextant.samples_1d', $1::timestamptz, $2::timestamptz)

-- name: chunks_to_compress
-- Chunks before a time that hold rows outside the columnstore.
SELECT format('%I.%I', n.nspname, c.relname) AS chunk
FROM timescaledb_information.chunks i
JOIN pg_namespace n ON n.nspname = i.chunk_schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = i.chunk_name
JOIN _timescaledb_catalog.chunk k ON k.schema_name = i.chunk_schema AND k.table_name = i.chunk_name
WHERE i.hypertable_schema = 'sextant' AND i.hypertable_name = 'samples' AND i.range_end <= $1
    AND (NOT i.is_compressed OR k.status & 10 <> 0)  -- 2: unordered, 8: partial
ORDER BY i.range_start

-- name: compress
-- Moves a chunk's rows to the columnstore.
SELECT compress_chunk($1::regclass, if_not_compressed => true)

-- name: oldest_chunk
-- Where the chunks wholly before a time begin.
SELECT min(range_start) FROM timescaledb_information.chunks
WHERE hypertable_schema = 'sextant' AND hypertable_name = 'samples' AND range_end <= $1

-- name: drop_chunks
-- Chunks wholly before a time.
SELECT drop_chunks('sextant.samples', older_than => $1::timestamptz)

-- name: drop_aggregate_chunks
-- The same of the stored aggregates.
SELECT drop_chunks(view, older_than => $1::timestamptz)
FROM unnest(ARRAY['sextant.samples_5m', 'sextant.samples_1h', 'sextant.samples_1d']::regclass[]) AS view

-- name: sizes
-- Chunks, how many of them in the columnstore, and bytes.
SELECT
    (SELECT count(*) FROM timescaledb_information.chunks
     WHERE hypertable_schema = 'sextant' AND hypertable_name = 'samples') AS chunks,
    (SELECT count(*) FROM timescaledb_information.chunks
     WHERE hypertable_schema = 'sextant' AND hypertable_name = 'samples' AND is_compressed) AS compressed_chunks,
    hypertable_size('sextant.samples') AS size_bytes,
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS extension_version,
    current_setting('timescaledb.license') AS licence
