"""The SQL of the comparison and of the repair; jobs are written by custody/control_plane/jobs."""

NODES = "SELECT id, node_group, identity_public_key, certificates_from FROM nodes ORDER BY id"

LATEST = """
    SELECT greatest(
        (SELECT max(created_at) FROM jobs),
        (SELECT max(finished_at) FROM jobs),
        (SELECT max(last_seen) FROM nodes),
        (SELECT max(received_at) FROM audit_heads)
    ) AS at
"""
"""The last moment that the database knows of: it was backed up shortly after."""

OTHERS = """
    SELECT count(*) AS number FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'control-plane%'
        AND pid <> pg_backend_pid()
"""

KEYS = """
    SELECT keys.id, keys.node_group, keys.store, keys.scheme, keys.curve, keys.network,
        keys.public_key, keys.protection, keys.chain_code, keys.signer_group, keys.generation,
        keys.share_set_id, keys.imported, jobs.state
    FROM keys JOIN jobs ON jobs.id = keys.id
    WHERE keys.id = ANY(CAST(:ids AS uuid[]))
"""

ACTIVE_KEYS = """
    SELECT keys.id, keys.store, keys.node_group, (
            SELECT array_agg(signer ORDER BY share_index) FROM signer_group_members
            WHERE group_name = keys.signer_group
        ) AS signers
    FROM keys JOIN jobs ON jobs.id = keys.id
    WHERE jobs.state = 'Done' AND keys.root_id IS NULL AND keys.id > :after
    ORDER BY keys.id LIMIT :limit
"""

JOBS = """
    SELECT id, kind, state, node_group, outcome, finished_at IS NOT NULL AS is_final FROM jobs
    WHERE id = ANY(CAST(:ids AS uuid[]))
"""

PROOFS = """
    SELECT job_id, payload FROM steps
    WHERE kind = 'ProveKey' AND payload IS NOT NULL AND job_id = ANY(CAST(:ids AS uuid[]))
"""
"""Steps from before the backup in which signers have proved a share set."""

GROUPS = """
    SELECT name, threshold, array_agg(signer ORDER BY share_index) AS signers
    FROM signer_groups JOIN signer_group_members ON group_name = name GROUP BY name, threshold
"""

HOLDERS = """
    SELECT held.name, threshold, array_agg(signer ORDER BY share_index) AS signers
    FROM keys JOIN signer_groups AS held ON held.name = signer_group
        JOIN signer_group_members ON group_name = held.name
    WHERE keys.id = :id GROUP BY held.name, threshold
"""
"""The signer group of one key."""

ADD_GROUP = """
    WITH added AS (
        INSERT INTO signer_groups (name, threshold) VALUES (:name, :threshold)
        ON CONFLICT DO NOTHING RETURNING name
    )
    INSERT INTO signer_group_members (group_name, share_index, signer)
    SELECT added.name, share_index, signer
    FROM added, unnest(CAST(:signers AS varchar[])) WITH ORDINALITY AS member(signer, share_index)
    RETURNING group_name
"""

APPLICATION = "SELECT id FROM applications WHERE name = :name"

SET_SHARES = """
    UPDATE keys SET share_set_id = :share_set_id, generation = :generation,
        next_share_set_id = NULL, next_users = '{}'
    WHERE id = :id
    RETURNING id
"""

_ARCHIVABLE = """
    SELECT keys.id, keys.root_id, keys.path, keys.store, keys.node_group, keys.archived_at,
        held.threshold, (
            SELECT array_agg(signer ORDER BY share_index) FROM signer_group_members
            WHERE group_name = keys.signer_group
        ) AS signers, EXISTS (
            SELECT FROM jobs WHERE jobs.key_id = keys.id AND jobs.finished_at IS NULL
                AND jobs.kind IN ('ArchiveKey', 'UnarchiveKey')
        ) AS is_changing
    FROM keys LEFT JOIN signer_groups AS held ON held.name = keys.signer_group
"""

ARCHIVABLE = _ARCHIVABLE + "WHERE keys.id = ANY(CAST(:ids AS uuid[])) ORDER BY keys.id"

ARCHIVED = (
    _ARCHIVABLE
    + """
    WHERE keys.archived_at IS NOT NULL AND keys.id > :after ORDER BY keys.id LIMIT :limit
"""
)

ARCHIVE = """
    UPDATE keys SET archived_at = least(CAST(:archived_at AS timestamptz), now())
    WHERE id = ANY(CAST(:ids AS uuid[])) AND archived_at IS NULL
    RETURNING id
"""

COPIED = """
    SELECT application_id, scheme, curve, network, public_key, chain_code, imported FROM keys
    WHERE id = :id
"""
"""The key that a copy is of."""
