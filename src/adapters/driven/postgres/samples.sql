-- name: state
-- What decides where data is: the epoch, the tenant's revisions, and the last unsettled block of each stream. It has no
-- parameters, so that its plan is kept although that of every other statement of a snapshot is made anew.
SELECT
    (SELECT epoch FROM sextant.settle_epoch) AS epoch,
    tenant.revision,
    tenant.policy_revision,
    (SELECT ts FROM sextant.settled_until WHERE tenant_id = (SELECT sextant.current_tenant())) AS settled_until,
    stream.writers,
    stream.sequences
FROM (
    SELECT array_agg(s.writer) AS writers, array_agg(last.sequence) AS sequences
    FROM sextant.journal_streams s
    CROSS JOIN LATERAL (
        SELECT j.sequence FROM sextant.journal j WHERE j.writer = s.writer ORDER BY j.sequence DESC LIMIT 1
    ) last
) stream
LEFT JOIN sextant.tenant_catalogs tenant ON tenant.tenant_id = (SELECT sextant.current_tenant())

-- name: epoch_cursors
-- The settler's cursors.
SELECT writer, sequence FROM sextant.journal_cursors WHERE consumer = 'settler'

-- name: epoch_stale
-- Ranges in which stored aggregates do not hold.
SELECT width, starts_at, ends_at FROM sextant.stale_aggregates

-- name: points
-- Settled samples as columns of big-endian bytes, which need no object per value on the way.
SELECT count(*) AS n,
    string_agg(int4send(series_id), ''::bytea) AS series_ids,
    string_agg(timestamptz_send(ts), ''::bytea) AS ts,
    string_agg(float8send(value), ''::bytea) AS values
FROM (
    SELECT series_id, ts, value FROM sextant.tenant_samples
    WHERE series_id = ANY($1::integer[]) AND ts >= $2 AND ts < $3
    LIMIT $4
) chosen

-- name: first_points
-- The first settled samples after a position, by (ts, series).
SELECT count(*) AS n,
    string_agg(int4send(series_id), ''::bytea) AS series_ids,
    string_agg(timestamptz_send(ts), ''::bytea) AS ts,
    string_agg(float8send(value), ''::bytea) AS values
FROM (
    SELECT series_id, ts, value FROM sextant.tenant_samples
    WHERE series_id = ANY($1::integer[]) AND ts >= $2 AND ts < $3 AND (ts > $4 OR series_id > $5)
    ORDER BY ts, series_id
    LIMIT $6
) chosen

-- name: values
-- Settled values alone, for statistics over one line.
SELECT 0 AS line, count(*) AS n, string_agg(float8send(value), ''::bytea) AS values
FROM (
    SELECT value FROM sextant.tenant_samples
    WHERE series_id = ANY($1::integer[]) AND ts >= $2 AND ts < $3
    LIMIT $4
) chosen

-- name: values_by_line
-- Settled values alone, for statistics over several lines.
SELECT l.line, count(*) AS n, string_agg(float8send(chosen.value), ''::bytea) AS values
FROM (
    SELECT series_id, value FROM sextant.tenant_samples
    WHERE series_id = ANY($1::integer[]) AND ts >= $2 AND ts < $3
    LIMIT $4
) chosen
JOIN unnest($1::integer[], $5::integer[]) AS l (series_id, line) USING (series_id)
GROUP BY l.line

-- name: partials
-- Partial aggregates of settled samples for one line.
SELECT count(*) AS n,
    string_agg(int4send(0), ''::bytea) AS lines,
    string_agg(timestamptz_send(bucket), ''::bytea) AS buckets,
    string_agg(int8send(count), ''::bytea) AS counts,
    string_agg(float8send(sum), ''::bytea) AS sums,
    string_agg(float8send(min), ''::bytea) AS mins,
    string_agg(float8send(max), ''::bytea) AS maxs
FROM (
    SELECT date_bin($4::interval, ts, 'epoch'::timestamptz) AS bucket,
        count(*) AS count, sum(value) AS sum, min(value) AS min, max(value) AS max
    FROM sextant.tenant_samples
    WHERE series_id = ANY($1::integer[]) AND ts >= $2 AND ts < $3
    GROUP BY 1
) partials

-- name: partials_by_line
-- Partial aggregates of settled samples for several lines.
SELECT count(*) AS n,
    string_agg(int4send(line), ''::bytea) AS lines,
    string_agg(timestamptz_send(bucket), ''::bytea) AS buckets,
    string_agg(int8send(count), ''::bytea) AS counts,
    string_agg(float8send(sum), ''::bytea) AS sums,
    string_agg(float8send(min), ''::bytea) AS mins,
    string_agg(float8send(max), ''::bytea) AS maxs
FROM (
    SELECT l.line, date_bin($4::interval, s.ts, 'epoch'::timestamptz) AS bucket,
        count(*) AS count, sum(s.value) AS sum, min(s.value) AS min, max(s.value) AS max
    FROM sextant.tenant_samples s
    JOIN unnest($1::integer[], $5::integer[]) AS l (series_id, line) USING (series_id)
    WHERE s.series_id = ANY($1::integer[]) AND s.ts >= $2 AND s.ts < $3
    GROUP BY 1, 2
) partials

-- name: last
-- Each series' last settled sample in a range.
SELECT count(*) AS n,
    string_agg(int4send(series_id), ''::bytea) AS series_ids,
    string_agg(timestamptz_send(ts), ''::bytea) AS ts,
    string_agg(float8send(value), ''::bytea) AS values
FROM sextant.last_samples($1::integer[], $2, $3)
