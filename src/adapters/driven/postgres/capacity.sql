-- name: put
-- Adds snapshots, or replaces those of the same instant; says of each whether it is new.
INSERT INTO sextant.drift_cluster_capacity_snapshots (tenant_id, cluster_id, ts, node_count, nodes,
    allocatable_cpu_cores, allocatable_memory_bytes, allocatable_pods, used_cpu_cores, used_memory_bytes, used_pods,
    requested_cpu_cores, requested_memory_bytes, requested_pods, cpu_utilisation, memory_utilisation, pods_utilisation,
    cost_usd_per_hour, source, synthetic)
SELECT $1, s.cluster_id, s.ts, s.node_count, s.nodes, s.allocatable_cpu_cores, s.allocatable_memory_bytes,
    s.allocatable_pods, s.used_cpu_cores, s.used_memory_bytes, s.used_pods, s.requested_cpu_cores,
    s.requested_memory_bytes, s.requested_pods, s.cpu_utilisation, s.memory_utilisation, s.pods_utilisation,
    s.cost_usd_per_hour, s.source, s.synthetic
FROM jsonb_to_recordset($2::jsonb) AS s (
    cluster_id text, ts timestamptz, node_count integer, nodes jsonb, allocatable_cpu_cores double precision,
    allocatable_memory_bytes double precision, allocatable_pods double precision, used_cpu_cores double precision,
    used_memory_bytes double precision, used_pods double precision, requested_cpu_cores double precision,
    requested_memory_bytes double precision, requested_pods double precision, cpu_utilisation double precision,
    memory_utilisation double precision, pods_utilisation double precision, cost_usd_per_hour double precision,
    source text, synthetic boolean)
ORDER BY s.cluster_id, s.ts
ON CONFLICT (tenant_id, cluster_id, ts) DO UPDATE SET
    node_count = excluded.node_count,
    nodes = excluded.nodes,
    allocatable_cpu_cores = excluded.allocatable_cpu_cores,
    allocatable_memory_bytes = excluded.allocatable_memory_bytes,
    allocatable_pods = excluded.allocatable_pods,
    used_cpu_cores = excluded.used_cpu_cores,
    used_memory_bytes = excluded.used_memory_bytes,
    used_pods = excluded.used_pods,
    requested_cpu_cores = excluded.requested_cpu_cores,
    requested_memory_bytes = excluded.requested_memory_bytes,
    requested_pods = excluded.requested_pods,
    cpu_utilisation = excluded.cpu_utilisation,
    memory_utilisation = excluded.memory_utilisation,
    pods_utilisation = excluded.pods_utilisation,
    cost_usd_per_hour = excluded.cost_usd_per_hour,
    source = excluded.source,
    synthetic = excluded.synthetic
RETURNING xmax = 0 AS added

-- name: newest
-- A cluster's snapshots of a range, newest first.
SELECT cluster_id, ts, nodes, allocatable_cpu_cores, allocatable_memory_bytes, allocatable_pods, used_cpu_cores,
    used_memory_bytes, used_pods, requested_cpu_cores, requested_memory_bytes, requested_pods, cost_usd_per_hour, source,
    synthetic
FROM sextant.drift_cluster_capacity_snapshots
WHERE tenant_id = $1 AND cluster_id = $2
    AND ($3::timestamptz IS NULL OR ts >= $3) AND ($4::timestamptz IS NULL OR ts < $4)
ORDER BY ts DESC LIMIT $5

-- name: clusters
-- Clusters with a snapshot, by skipping from one to the next in the index, or with a plan.
WITH RECURSIVE seen AS (
    (SELECT cluster_id FROM sextant.drift_cluster_capacity_snapshots WHERE tenant_id = $1 ORDER BY cluster_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT s.cluster_id FROM sextant.drift_cluster_capacity_snapshots s
        WHERE s.tenant_id = $1 AND s.cluster_id > seen.cluster_id ORDER BY s.cluster_id LIMIT 1
    )
    FROM seen WHERE seen.cluster_id IS NOT NULL
)
SELECT cluster_id FROM seen WHERE cluster_id IS NOT NULL
UNION
SELECT cluster_id FROM sextant.capacity_plans WHERE tenant_id = $1

-- name: plan
-- A cluster's plan.
SELECT plan FROM sextant.capacity_plans WHERE tenant_id = $1 AND cluster_id = $2

-- name: put_plan
-- Declares a plan.
INSERT INTO sextant.capacity_plans (tenant_id, cluster_id, plan) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id, cluster_id) DO UPDATE SET plan = excluded.plan

-- name: delete_plan
-- Removes a plan.
DELETE FROM sextant.capacity_plans WHERE tenant_id = $1 AND cluster_id = $2
