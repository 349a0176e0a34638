-- Nothing to do on plain PostgreSQL: it has no jobs of its own. The file keeps both engines at one schema version.
SELECT 1;
