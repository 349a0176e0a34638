-- name: partials
-- Partial aggregates for one line, from a stored aggregate.
SELECT count(*) AS n,
    string_agg(int4send(0), ''::bytea) AS lines,
    string_agg(timestamptz_send(bin), ''::bytea) AS buckets,
    string_agg(int8send(count), ''::bytea) AS counts,
    string_agg(float8send(sum), ''::bytea) AS sums,
    string_agg(float8send(min), ''::bytea) AS mins,
    string_agg(float8send(max), ''::bytea) AS maxs
FROM (
    SELECT date_bin($4::interval, bucket, 'epoch'::timestamptz) AS bin,
        sum(count)::bigint AS count, sum(sum) AS sum, min(min) AS min, max(max) AS max
    FROM sextant.tenant_samples_{width}
    WHERE series_id = ANY($1::integer[]) AND bucket >= $2 AND bucket < $3
    GROUP BY 1
) partials

-- name: partials_by_line
-- Partial aggregates for several lines, from a stored aggregate.
SELECT count(*) AS n,
    string_agg(int4send(line), ''::bytea) AS lines,
    string_agg(timestamptz_send(bin), ''::bytea) AS buckets,
    string_agg(int8send(count), ''::bytea) AS counts,
    string_agg(float8send(sum), ''::bytea) AS sums,
    string_agg(float8send(min), ''::bytea) AS mins,
    string_agg(float8send(max), ''::bytea) AS maxs
FROM (
    SELECT l.line, date_bin($4::interval, s.bucket, 'epoch'::timestamptz) AS bin,
        sum(s.count)::bigint AS count, sum(s.sum) AS sum, min(s.min) AS min, max(s.max) AS max
    FROM sextant.tenant_samples_{width} s
    JOIN unnest($1::integer[], $5::integer[]) AS l (series_id, line) USING (series_id)
    WHERE s.series_id = ANY($1::integer[]) AND s.bucket >= $2 AND s.bucket < $3
    GROUP BY 1, 2
) partials

-- name: ends
-- Whole rows of a stored aggregate, with first and last, for joining across series.
SELECT count(*) AS n,
    string_agg(int4send(series_id), ''::bytea) AS series_ids,
    string_agg(timestamptz_send(bucket), ''::bytea) AS buckets,
    string_agg(int8send(count), ''::bytea) AS counts,
    string_agg(float8send(sum), ''::bytea) AS sums,
    string_agg(float8send(min), ''::bytea) AS mins,
    string_agg(float8send(max), ''::bytea) AS maxs,
    string_agg(timestamptz_send(first_ts), ''::bytea) AS first_ts,
    string_agg(float8send(first), ''::bytea) AS firsts,
    string_agg(timestamptz_send(last_ts), ''::bytea) AS last_ts,
    string_agg(float8send(last), ''::bytea) AS lasts
FROM sextant.tenant_samples_{width}
WHERE series_id = ANY($1::integer[]) AND bucket >= $2 AND bucket < $3
