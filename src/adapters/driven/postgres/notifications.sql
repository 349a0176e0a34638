-- name: waiting_tenants
-- Tenants with events to decide, the one with the oldest first; looks at the oldest $3 events.
SELECT tenant_id FROM (
    SELECT tenant_id, created_at, id FROM sextant.notification_events
    WHERE decided_at IS NULL AND created_at < $1 AND look_again_at <= $2
    ORDER BY created_at, id LIMIT $3
) oldest
GROUP BY tenant_id ORDER BY min(created_at), min(id)

-- name: lock_tenant
-- Only one process at a time decides about a tenant; false where another does.
SELECT pg_try_advisory_xact_lock(hashtext('sextant.notify'), $1)

-- name: events
-- A tenant's oldest events to decide, with their alerts.
SELECT e.id AS event_id, t.name AS tenant, e.event, e.created_at, e.channels AS event_channels, e.text, e.link, a.*
FROM (
    SELECT id, tenant_id, alert_id, event, created_at, channels, text, link FROM sextant.notification_events
    WHERE tenant_id = $1 AND decided_at IS NULL AND created_at < $2 AND look_again_at <= $3
    ORDER BY created_at, id LIMIT $4
) e
JOIN sextant.tenants t ON t.id = e.tenant_id
JOIN sextant.shown_alerts a ON a.id = e.alert_id
ORDER BY e.id

-- name: channels
-- A tenant's channels, without their secrets.
SELECT id, config, secrets_set, enabled, disabled_reason, created_at, updated_at
FROM sextant.channels WHERE tenant_id = $1 ORDER BY id

-- name: silences
-- A tenant's silences that have not ended.
SELECT id, matchers, starts_at, ends_at, author, reason, created_at
FROM sextant.silences WHERE tenant_id = $1 AND ends_at > $2 ORDER BY id

-- name: inhibitions
-- A tenant's inhibitions.
SELECT id, spec, created_at FROM sextant.inhibitions WHERE tenant_id = $1 ORDER BY id

-- name: firing
-- A tenant's announced alerts that fire, the newest $2 of them.
SELECT * FROM sextant.shown_alerts
WHERE tenant_id = $1 AND state = 'firing' AND announced ORDER BY id DESC LIMIT $2

-- name: told
-- Which channels were told that these alerts fire.
SELECT DISTINCT about.alert_id, n.channel_id
FROM sextant.notifications n, unnest(n.alert_ids) AS about (alert_id)
WHERE n.tenant_id = $1 AND n.alert_ids && $2::bigint[] AND n.event IN ('fired', 'escalated')
    AND about.alert_id = ANY($2::bigint[])

-- name: store
-- New messages ($3), each to a channel ($2) of its tenant ($1) about alerts ($4: JSON lists), in order; those to channels
-- that are gone are left out.
INSERT INTO sextant.notifications
    (id, tenant_id, channel_id, event, rule_name, alert_ids, message, created_at, next_attempt_at)
SELECT (m.message ->> 'id')::uuid, c.tenant_id, c.id, m.message ->> 'event', m.message ->> 'rule',
    ARRAY(SELECT alert_id::bigint FROM jsonb_array_elements_text(m.alert_ids) AS alert_id),
    m.message, (m.message ->> 'created_at')::timestamptz, (m.message ->> 'created_at')::timestamptz
FROM (
    SELECT new.tenant_id, new.channel_id, new.message::jsonb AS message, new.alert_ids::jsonb AS alert_ids, new.n
    FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[]) WITH ORDINALITY
        AS new (tenant_id, channel_id, message, alert_ids, n)
) m
JOIN sextant.channels c ON c.id = m.channel_id AND c.tenant_id = m.tenant_id
ORDER BY m.n
FOR KEY SHARE OF c
ON CONFLICT (id) DO NOTHING

-- name: suppress
-- Why events led to no message.
UPDATE sextant.notification_events e SET decided_at = clock_timestamp(), suppressed = s.reason
FROM unnest($1::bigint[], $2::text[]) AS s (id, reason) WHERE e.id = s.id

-- name: keep
-- Leaves events waiting, out of sight for a while.
UPDATE sextant.notification_events SET look_again_at = $2 WHERE id = ANY($1::bigint[])

-- name: done
-- Events that are decided.
UPDATE sextant.notification_events SET decided_at = clock_timestamp() WHERE id = ANY($1::bigint[])

-- name: claim
-- Takes due messages for a lease of $2 seconds: of each channel that is neither disabled nor busy ($4) the first $3,
-- but none while an older one about one of its alerts waits; counts the attempt.
WITH due AS MATERIALIZED (
    SELECT head.id FROM (
        SELECT DISTINCT channel_id FROM sextant.notifications WHERE state = 'waiting' AND next_attempt_at <= $1
    ) addressed
    JOIN sextant.channels c ON c.id = addressed.channel_id
    CROSS JOIN LATERAL (
        SELECT n.id, n.sequence FROM sextant.notifications n
        WHERE n.channel_id = c.id AND n.state = 'waiting' AND n.next_attempt_at <= $1
            AND NOT EXISTS (
                SELECT FROM sextant.notifications older
                WHERE older.channel_id = n.channel_id AND older.state = 'waiting' AND older.sequence < n.sequence
                    AND older.alert_ids && n.alert_ids)
        ORDER BY n.sequence LIMIT $3 FOR UPDATE OF n SKIP LOCKED
    ) head
    WHERE c.enabled AND c.id <> ALL($4::integer[])
    ORDER BY head.sequence LIMIT $5
), claimed AS (
    UPDATE sextant.notifications n
    SET attempts = n.attempts + 1, next_attempt_at = $1 + make_interval(secs => $2)
    FROM due WHERE n.id = due.id
    RETURNING n.tenant_id, n.channel_id, n.message, n.attempts - 1 AS attempts_before, n.sequence
)
SELECT claimed.tenant_id, claimed.message, claimed.attempts_before,
    c.id, c.config, c.secrets, c.secrets_set, c.enabled, c.disabled_reason, c.created_at, c.updated_at
FROM claimed JOIN sextant.channels c ON c.id = claimed.channel_id
ORDER BY claimed.sequence

-- name: delivered
-- The receiver has a message; its time stays as it was written first.
UPDATE sextant.notifications SET state = 'delivered', delivered_at = $3, next_attempt_at = NULL
WHERE tenant_id = $1 AND id = $2 AND state <> 'delivered'

-- name: failed
-- An attempt failed; without another one to come the message is dead.
UPDATE sextant.notifications
SET state = CASE WHEN $4::timestamptz IS NULL THEN 'dead' ELSE state END, last_error = $3, next_attempt_at = $4
WHERE tenant_id = $1 AND id = $2 AND state = 'waiting'

-- name: forget_events
-- Deletes up to $2 events that were decided before $1.
DELETE FROM sextant.notification_events WHERE id IN (
    SELECT id FROM sextant.notification_events WHERE decided_at < $1 LIMIT $2)

-- name: forget_messages
-- Deletes up to $2 messages that were delivered before $1 and whose alerts had all resolved by then.
DELETE FROM sextant.notifications WHERE id IN (
    SELECT n.id FROM sextant.notifications n
    WHERE n.state = 'delivered' AND n.delivered_at < $1 AND NOT EXISTS (
        SELECT FROM sextant.alerts a
        WHERE a.id = ANY(n.alert_ids) AND (a.resolved_at IS NULL OR a.resolved_at >= $1))
    LIMIT $2)

-- name: list
-- A tenant's notifications, newest first, before one, of a state, about an alert; what is null filters nothing.
SELECT n.id, n.channel_id, c.name AS channel, n.event, n.rule_name, n.alert_ids, n.state, n.attempts, n.created_at,
    n.next_attempt_at, n.delivered_at, n.last_error
FROM sextant.notifications n JOIN sextant.channels c ON c.id = n.channel_id
WHERE n.tenant_id = $1 AND ($2::text IS NULL OR n.state = $2)
    AND ($3::timestamptz IS NULL OR (n.created_at, n.id) < ($3, $4::uuid))
    AND ($5::bigint IS NULL OR $5 = ANY(n.alert_ids))
ORDER BY n.created_at DESC, n.id DESC LIMIT $6

-- name: get
-- One notification.
SELECT n.id, n.channel_id, c.name AS channel, n.event, n.rule_name, n.alert_ids, n.state, n.attempts, n.created_at,
    n.next_attempt_at, n.delivered_at, n.last_error
FROM sextant.notifications n JOIN sextant.channels c ON c.id = n.channel_id
WHERE n.tenant_id = $1 AND n.id = $2

-- name: resend
-- Makes a dead message wait again, with all its attempts before it.
UPDATE sextant.notifications SET state = 'waiting', attempts = 0, next_attempt_at = $3
WHERE tenant_id = $1 AND id = $2 AND state = 'dead' RETURNING id
