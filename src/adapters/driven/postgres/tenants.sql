-- name: list
-- All tenants.
SELECT id, name, created_at FROM sextant.tenants ORDER BY name

-- name: get
-- One tenant by name or id.
SELECT id, name, created_at FROM sextant.tenants WHERE name = $1 OR id::text = $1 ORDER BY name = $1 DESC LIMIT 1

-- name: create
-- A new tenant.
INSERT INTO sextant.tenants (name, samples_per_s, samples_burst, series_max, query_points_max, query_timeout_s)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING id, name, created_at

-- name: create_catalog
-- The new tenant's counters.
INSERT INTO sextant.tenant_catalogs (tenant_id) VALUES ($1)

-- name: set_limits
-- The tenant's own limits.
UPDATE sextant.tenants SET samples_per_s = $2, samples_burst = $3, series_max = $4, query_points_max = $5,
    query_timeout_s = $6
WHERE id = $1 RETURNING id

-- name: policy
-- What holds for a tenant's samples.
SELECT t.samples_per_s, t.samples_burst, t.series_max, t.query_points_max, t.query_timeout_s,
    c.series_active, c.policy_revision,
    coalesce((SELECT jsonb_object_agg(d.name, d.retention_days)
              FROM sextant.metric_definitions d WHERE d.tenant_id = t.id), '{}')::text AS retention_days
FROM sextant.tenants t JOIN sextant.tenant_catalogs c ON c.tenant_id = t.id
WHERE t.id = $1

-- name: bump_policy
-- Makes servers read the tenant's definitions and limits again.
UPDATE sextant.tenant_catalogs SET policy_revision = policy_revision + 1 WHERE tenant_id = $1

-- name: find_key
-- The key with this hash; row-level security shows that row alone.
SELECT k.id, k.tenant_id, k.name, k.prefix, k.sha256, k.scopes, k.created_at, k.expires_at, k.revoked_at
FROM sextant.api_keys k WHERE k.sha256 = $1

-- name: tenant_name
-- The name of the current tenant.
SELECT name FROM sextant.tenants WHERE id = $1

-- name: list_keys
-- A tenant's keys.
SELECT k.id, t.name AS tenant, k.name, k.prefix, k.scopes, k.created_at, k.expires_at, k.revoked_at
FROM sextant.api_keys k JOIN sextant.tenants t ON t.id = k.tenant_id
WHERE k.tenant_id = $1 ORDER BY k.id

-- name: create_key
-- A new key.
INSERT INTO sextant.api_keys (tenant_id, name, prefix, sha256, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING id, name, prefix, scopes, created_at, expires_at, revoked_at

-- name: revoke_key
-- Ends a key.
UPDATE sextant.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = $1 AND id = $2 RETURNING id

-- name: list_definitions
-- A tenant's metric definitions.
SELECT name, display_name, description, unit, type, aggregation, retention_days, alert_warning, alert_critical
FROM sextant.metric_definitions WHERE tenant_id = $1 ORDER BY name

-- name: get_definition
-- One metric definition.
SELECT name, display_name, description, unit, type, aggregation, retention_days, alert_warning, alert_critical
FROM sextant.metric_definitions WHERE tenant_id = $1 AND name = $2

-- name: create_definition
-- A new metric definition.
INSERT INTO sextant.metric_definitions (tenant_id, name, display_name, description, unit, type, aggregation,
    retention_days, alert_warning, alert_critical)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: put_definition
-- A metric definition, new or replaced.
INSERT INTO sextant.metric_definitions (tenant_id, name, display_name, description, unit, type, aggregation,
    retention_days, alert_warning, alert_critical)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (tenant_id, name) DO UPDATE SET display_name = excluded.display_name, description = excluded.description,
    unit = excluded.unit, type = excluded.type, aggregation = excluded.aggregation,
    retention_days = excluded.retention_days, alert_warning = excluded.alert_warning,
    alert_critical = excluded.alert_critical, updated_at = now()
RETURNING xmax = 0 AS created

-- name: delete_definition
-- Removes a metric definition.
DELETE FROM sextant.metric_definitions WHERE tenant_id = $1 AND name = $2 RETURNING name
