-- name: stage
-- A place for late points, gone with the transaction.
CREATE TEMPORARY TABLE late_points (ts timestamptz, tenant_id integer, series_id integer, value double precision)
ON COMMIT DROP

-- name: replace_late
-- Late points take the place of settled ones.
UPDATE sextant.samples s SET value = l.value FROM late_points l WHERE s.series_id = l.series_id AND s.ts = l.ts

-- name: add_late
-- The late points that replaced nothing.
INSERT INTO sextant.samples (ts, tenant_id, series_id, value)
SELECT ts, tenant_id, series_id, value FROM late_points
ON CONFLICT (series_id, ts) DO NOTHING

-- name: partitions
-- The day partitions there are.
SELECT c.relname AS name
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'sextant.samples'::regclass

-- name: sizes
-- How many partitions, and how many bytes with indexes.
SELECT count(*) AS chunks, coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)::bigint AS size_bytes
FROM pg_inherits i WHERE i.inhparent = 'sextant.samples'::regclass
