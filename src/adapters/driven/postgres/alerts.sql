-- name: list
-- A tenant's alerts, newest first, below an id; what is null filters nothing.
SELECT * FROM sextant.shown_alerts
WHERE tenant_id = $1
    AND ($2::bigint IS NULL OR id < $2)
    AND ($3::text IS NULL OR state = $3)
    AND ($4::text IS NULL OR severity = $4)
    AND ($5::text IS NULL OR rule_name = $5)
    AND ($6::text IS NULL OR metric = $6)
    AND ($7::boolean IS NULL OR (acknowledged_at IS NOT NULL) = $7)
    AND ($8::boolean IS NULL OR shadow = $8)
    AND ($9::timestamptz IS NULL OR started_at >= $9)
    AND ($10::timestamptz IS NULL OR started_at < $10)
    AND ($11::jsonb IS NULL OR labels @> $11)
ORDER BY id DESC LIMIT $12

-- name: get
-- One alert.
SELECT * FROM sextant.shown_alerts WHERE tenant_id = $1 AND id = $2

-- name: acknowledge
-- Marks an alert as seen, unless it is or has resolved.
UPDATE sextant.alerts SET acknowledged_at = $3, acknowledged_by = $4
WHERE tenant_id = $1 AND id = $2 AND state <> 'resolved' AND acknowledged_at IS NULL RETURNING id

-- name: tell_acknowledged
-- The event of it, where anybody was to be told of the alert.
INSERT INTO sextant.notification_events (tenant_id, alert_id, event, channels, created_at)
SELECT tenant_id, id, $3, channels, $4 FROM sextant.alerts WHERE tenant_id = $1 AND id = $2 AND announced AND NOT shadow

-- name: request_close
-- Notes on the target that its episode is to end; not once that one is over, whatever came after it.
UPDATE sextant.alert_states s SET close_requested_by = $3
FROM sextant.alerts a
WHERE a.tenant_id = $1 AND a.id = $2 AND a.state <> 'resolved'
    AND s.tenant_id = a.tenant_id AND s.rule_id = a.rule_id AND s.target_key = a.target_key
    AND (s.state ->> 'episode')::integer = a.episode AND s.state ->> 'phase' <> 'inactive'
RETURNING a.id
