-- name: open_stream
-- A new stream for one writing process.
INSERT INTO sextant.journal_streams (opened_by) VALUES ($1) RETURNING writer

-- name: append
-- One group commit.
INSERT INTO sextant.journal (writer, sequence, points, ts_min, ts_max, block) VALUES ($1, $2, $3, $4, $5, $6)

-- name: claim_keys
-- Idempotency keys committed with a block; those that exist already are not returned.
INSERT INTO sextant.idempotency_keys (tenant_id, key, body_sha256, accepted, rejected, errors, writer, sequence)
SELECT k.tenant_id, k.key, k.body_sha256, k.accepted, k.rejected, k.errors, $7, $8
FROM unnest($1::integer[], $2::text[], $3::bytea[], $4::integer[], $5::integer[], $6::bytea[])
    AS k (tenant_id, key, body_sha256, accepted, rejected, errors)
ON CONFLICT (tenant_id, key) DO NOTHING
RETURNING tenant_id, key

-- name: stored_replies
-- What the first requests with these keys were answered.
SELECT i.tenant_id, i.key, i.body_sha256, i.accepted, i.rejected, i.errors, i.writer, i.sequence
FROM sextant.idempotency_keys i
JOIN unnest($1::integer[], $2::text[]) AS k (tenant_id, key) USING (tenant_id, key)

-- name: backlog
-- What a consumer has not seen yet; nothing waits for one that was never registered.
SELECT coalesce(sum(j.points), 0)::bigint AS points, count(*) AS blocks, min(j.appended_at) AS oldest
FROM sextant.journal_consumers n
CROSS JOIN sextant.journal j
LEFT JOIN sextant.journal_cursors c ON c.consumer = n.consumer AND c.writer = j.writer
WHERE n.consumer = $1 AND j.sequence > coalesce(c.sequence, 0)

-- name: register
-- Keeps blocks for a consumer, from what the settler has not moved yet.
INSERT INTO sextant.journal_consumers (consumer) VALUES ($1) ON CONFLICT DO NOTHING RETURNING consumer

-- name: start_cursors
-- A new consumer begins where the journal begins.
INSERT INTO sextant.journal_cursors (consumer, writer, sequence)
SELECT $1, writer, min(sequence) - 1 FROM sextant.journal GROUP BY writer
ON CONFLICT DO NOTHING

-- name: unregister
-- Lets the journal forget blocks without this consumer.
DELETE FROM sextant.journal_consumers WHERE consumer = $1 AND consumer <> 'settler'

-- name: lock_consumer
-- One process consumes under a name at a time; released when the transaction ends, however it ends.
SELECT pg_try_advisory_xact_lock(hashtext('sextant.journal'), hashtext($1)) AS locked

-- name: positions
-- A consumer's cursors.
SELECT writer, sequence FROM sextant.journal_cursors WHERE consumer = $1

-- name: unread_blocks
-- Which blocks a consumer has not seen, in commit order. Only blocks that no running transaction can still precede
-- count as ordered; an age makes up for other databases' long transactions, past which ours have long timed out.
SELECT j.writer, j.sequence, j.points
FROM sextant.journal j
LEFT JOIN sextant.journal_cursors c ON c.consumer = $1 AND c.writer = j.writer
WHERE j.sequence > coalesce(c.sequence, 0)
    AND (j.commit_order < pg_snapshot_xmin(pg_current_snapshot()) OR j.appended_at < clock_timestamp() - INTERVAL '30 seconds')
ORDER BY j.commit_order, j.writer, j.sequence

-- name: read_blocks
-- The blocks themselves.
SELECT j.writer, j.sequence, j.commit_order::text::bigint AS commit_order, j.block
FROM sextant.journal j
JOIN unnest($1::integer[], $2::bigint[]) AS wanted (writer, sequence) USING (writer, sequence)
ORDER BY j.commit_order, j.writer, j.sequence

-- name: move_cursors
-- Records what a consumer has seen.
INSERT INTO sextant.journal_cursors (consumer, writer, sequence)
SELECT $1, seen.writer, seen.sequence FROM unnest($2::integer[], $3::bigint[]) AS seen (writer, sequence)
ON CONFLICT (consumer, writer) DO UPDATE SET sequence = excluded.sequence

-- name: delete_consumed
-- Blocks that every consumer has passed.
DELETE FROM sextant.journal j
USING (
    SELECT stream.writer, min(coalesce(c.sequence, 0)) AS sequence
    FROM (SELECT DISTINCT writer FROM sextant.journal) stream
    CROSS JOIN sextant.journal_consumers n
    LEFT JOIN sextant.journal_cursors c ON c.consumer = n.consumer AND c.writer = stream.writer
    GROUP BY stream.writer
) passed
WHERE j.writer = passed.writer AND j.sequence <= passed.sequence

-- name: delete_old_keys
-- Idempotency keys past the time they are honoured.
DELETE FROM sextant.idempotency_keys WHERE created_at < $1

-- name: forget_streams
-- Streams of processes that are gone, which hold nothing any more. A writer that was taken for gone all the same fails
-- its next append and opens another stream.
WITH idle AS (
    DELETE FROM sextant.journal_streams s
    WHERE s.opened_at < now() - INTERVAL '10 minutes'
        AND NOT EXISTS (SELECT FROM sextant.journal j WHERE j.writer = s.writer)
        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = s.opened_by)
    RETURNING s.writer
)
DELETE FROM sextant.journal_cursors c USING idle WHERE c.writer = idle.writer
