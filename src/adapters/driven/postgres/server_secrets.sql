-- name: get
-- A secret of the server.
SELECT secret FROM sextant.server_secrets WHERE name = $1

-- name: make
-- A new secret, unless another process was first.
INSERT INTO sextant.server_secrets (name, secret) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
