-- name: samples
-- How many samples of these series there are in which of the narrowest aggregate's buckets.
SELECT date_bin(INTERVAL '5 minutes', ts, 'epoch'::timestamptz) AS bucket, count(*) AS samples
FROM sextant.samples WHERE tenant_id = $1 AND series_id = ANY($2::integer[]) GROUP BY 1
