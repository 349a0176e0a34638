-- name: lock_tenant
-- One reservation at a time within a tenant, and none while the whole server's kill switch is being set.
SELECT pg_advisory_xact_lock_shared(hashtext('sextant.actions'), 0),
    pg_advisory_xact_lock(hashtext('sextant.actions'), $1)

-- name: lock_switch
-- Waits for reservations under way, of one tenant or (0) all, and holds back new ones.
SELECT pg_advisory_xact_lock(hashtext('sextant.actions'), $1)

-- name: taken
-- Whether the remediation ($9) has ended, or its alert before it acted, and what was granted: whether this key was, when the n-th newest action of
-- the tenant ($5) and of the target ($6) was within the hour since $3, and when another remediation of the policy last
-- acted on the target since $4.
SELECT
    EXISTS (SELECT FROM sextant.remediations WHERE tenant_id = $1 AND id = $9 AND finished_at IS NOT NULL) AS ended,
    EXISTS (SELECT FROM sextant.remediations r JOIN sextant.alerts a ON a.id = r.alert_id
     WHERE r.tenant_id = $1 AND r.id = $9 AND a.state = 'resolved')
     AND NOT EXISTS (SELECT FROM sextant.remediation_actions WHERE tenant_id = $1 AND remediation_id = $9) AS resolved,
    EXISTS (SELECT FROM sextant.remediation_actions WHERE tenant_id = $1 AND key = $2) AS repeated,
    (SELECT reserved_at FROM sextant.remediation_actions WHERE tenant_id = $1 AND reserved_at > $3
     ORDER BY reserved_at DESC OFFSET $5 - 1 LIMIT 1) AS tenant_full_at,
    (SELECT reserved_at FROM sextant.remediation_actions WHERE tenant_id = $1 AND reserved_at > $3 AND target = $7
     ORDER BY reserved_at DESC OFFSET $6 - 1 LIMIT 1) AS target_full_at,
    (SELECT max(reserved_at) FROM sextant.remediation_actions WHERE tenant_id = $1 AND reserved_at > $4
     AND target = $7 AND policy_name = $8 AND remediation_id <> $9) AS touched_at

-- name: grant
-- Counts an action, once.
INSERT INTO sextant.remediation_actions (tenant_id, key, remediation_id, policy_name, target, rollback, reserved_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, key) DO NOTHING

-- name: kill_switches
-- The whole server's, then the tenant's.
SELECT t.name AS tenant, coalesce(k.engaged, false) AS engaged, k.changed_by, k.reason, k.changed_at
FROM (VALUES (0), ($1::integer)) AS s (tenant_id)
LEFT JOIN sextant.kill_switches k ON k.tenant_id = s.tenant_id
LEFT JOIN sextant.tenants t ON t.id = s.tenant_id
ORDER BY s.tenant_id

-- name: set_kill_switch
-- Sets a tenant's, or (0) the whole server's.
INSERT INTO sextant.kill_switches (tenant_id, engaged, changed_by, reason, changed_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id) DO UPDATE SET engaged = excluded.engaged, changed_by = excluded.changed_by,
    reason = excluded.reason, changed_at = excluded.changed_at
