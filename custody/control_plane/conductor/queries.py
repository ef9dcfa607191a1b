"""The SQL of steps and tasks. Only the jobs folder's queries.py writes ``jobs.state``.

Every statement takes a whole batch, as arrays. A task is open while its step is and its signer has
not reported. Open tasks of ceremonies take up a signer's slots; orders do not.
"""

from custody.control_plane.tables import MAKES_KEYS

PLANNING_LOCK = 0x637573746F6479  # "custody", of which replicas have one at a time

LOCK = f"""
    SET LOCAL idle_in_transaction_session_timeout = '10s';
    SELECT pg_advisory_xact_lock({PLANNING_LOCK})
"""
"""A replica that is stopped in the middle does not keep the lock from the others."""

WAIT_FOR_DISK = "SET LOCAL synchronous_commit = on"

READ_REQUESTS = """
    WITH wanted AS (
        SELECT id FROM jobs WHERE id = ANY(CAST(:ids AS uuid[])) AND node_group = :group
        UNION (
            SELECT id FROM jobs
            WHERE state = 'Queued' AND node_group = :group AND run_after <= now()
                AND (expires_at > now() OR must_finish)
            ORDER BY run_after LIMIT :limit
        )
    )
    SELECT jobs.id, jobs.kind, jobs.state, jobs.attempt, jobs.payload, jobs.created_at,
        jobs.expires_at, jobs.must_finish, jobs.last_failure,
        clock_timestamp() AS read_at, jobs.run_after <= now() AS is_due,
        jobs.expires_at <= now() AS is_late,
        jobs.finished_at IS NOT NULL AS is_final,
        origin.signer_group AS origin_group, origin.generation AS origin_generation,
        origin.share_set_id AS origin_share_set_id,
        origin.next_share_set_id AS origin_next_share_set_id,
        origin.next_users AS origin_next_users,
        root.id AS root_id, root.signer_group, root.generation, root.share_set_id,
        root.next_share_set_id,
        coalesce(root.next_users, '{}') AS next_users,
        coalesce((SELECT jsonb_agg(jsonb_build_array(bans.signer, banned))
            FROM bans
            JOIN signer_group_members banning
                ON (banning.group_name, banning.signer) = (root.signer_group, bans.signer)
            JOIN signer_group_members other
                ON (other.group_name, other.signer) = (root.signer_group, banned)
            WHERE bans.key_id = root.id), '[]') AS banned_pairs,
        coalesce((SELECT jsonb_agg(pair ORDER BY pair) FROM (
            SELECT DISTINCT jsonb_build_array(telling.signer, other.signer) AS pair
            FROM signer_group_members telling
            JOIN nodes ON nodes.id = telling.signer AND nodes.node_group = :group
            CROSS JOIN jsonb_array_elements(nodes.left_in_flight) AS item
            JOIN signer_group_members other ON other.group_name = telling.group_name
                AND other.signer = item ->> 'signer' AND other.signer <> telling.signer
            WHERE telling.group_name = root.signer_group
                AND item ->> 'key_id' = CAST(root.id AS text)
            ) AS pairs), '[]') AS left_in_flight,
        jobs.kind <> 'Sign' AND EXISTS (
            SELECT FROM jobs other
            WHERE other.key_id = jobs.key_id AND other.finished_at IS NULL
                AND CASE WHEN jobs.kind IN ('ArchiveKey', 'UnarchiveKey')
                    THEN other.kind IN ('ArchiveKey', 'UnarchiveKey')
                    ELSE other.kind IN ('RefreshKey', 'RepairShare')
                        OR other.kind IN {makes_keys} END
                AND (other.attempt = 0, other.created_at, other.id)
                    < (jobs.attempt = 0, jobs.created_at, jobs.id)
        ) AS is_blocked
    FROM wanted JOIN jobs ON jobs.id = wanted.id
    LEFT JOIN keys ON keys.id = jobs.key_id
    LEFT JOIN keys root ON root.id = coalesce(keys.root_id, keys.id)
    LEFT JOIN keys origin ON jobs.kind = 'CopyKey' AND origin.id = keys.copied_from
    ORDER BY jobs.created_at, jobs.id
""".replace("{makes_keys}", MAKES_KEYS)
"""An import has no key yet.

Reads bans and left pairs of the root key's group alone: neither those that other signers state,
nor those about other signers."""

HOLD = """
    UPDATE jobs SET run_after = greatest(run_after, now() + make_interval(secs => :seconds))
    WHERE id = ANY(CAST(:ids AS uuid[]))
    """
"""Try these requests later, so that they take no place in a plan from the others."""

_LATE = """
    (steps.deadline <= now() OR tasks.lease_until <= now() OR (tasks.lease IS NULL
        AND steps.created_at <= now() - make_interval(secs => :claim_seconds)))
"""

READ_STEPS = """
    SELECT steps.request_id, steps.id, steps.number, steps.kind, steps.share_set_id, steps.ending,
        steps.culprits, steps.is_unsettled, tasks.signer, tasks.outcome,
        steps.ended_at IS NULL AND {late} AS is_late
    FROM steps JOIN tasks ON tasks.step_id = steps.id
    WHERE steps.request_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY steps.request_id, steps.number, tasks.signer
""".replace("{late}", _LATE)

READ_MEMBERS = """
    SELECT id, slots, has_gate, delivery_problems,
        coalesce(last_seen > now() - make_interval(secs => :alive_seconds)
            AND (silent_since IS NULL OR last_seen > silent_since)
            AND health ->> 'status' <> 'failing'
            AND coalesce(CAST(health ->> 'works' AS boolean), true)
            AND coalesce(health ->> 'detail', '') !~ '(^|; )(freeze|database|clock): ', false)
            AS is_there,
        CASE WHEN last_seen > now() - make_interval(secs => :alive_seconds)
            THEN left(health ->> 'detail', 200) END AS problem,
        coalesce(health ->> 'status', '') <> 'ok' AS is_degraded,
        (SELECT count(*) FROM tasks JOIN steps ON steps.id = tasks.step_id
            WHERE tasks.signer = nodes.id AND is_open AND steps.ticket IS NOT NULL) AS open
    FROM nodes WHERE node_group = :group
    """

END_STEPS = """
    WITH ended AS (
        UPDATE steps SET ended_at = now(), ending = over.ending,
            culprits = string_to_array(over.culprits, ' ')
        FROM unnest(CAST(:id AS uuid[]), CAST(:ending AS varchar[]),
            CAST(:culprits AS varchar[])) AS over(id, ending, culprits)
        WHERE steps.id = over.id AND steps.ended_at IS NULL
        RETURNING steps.id
    )
    UPDATE tasks SET is_open = false FROM ended WHERE tasks.step_id = ended.id AND is_open
    """

FALL_SILENT = """
    UPDATE nodes SET silent_since = greatest(silent_since, steps.created_at)
    FROM unnest(CAST(:step_id AS uuid[]), CAST(:signer AS varchar[])) AS silent(step_id, signer)
    JOIN steps ON steps.id = silent.step_id
    WHERE nodes.id = silent.signer
    """
"""A signer that left a task undone is away unless it has sent a heartbeat since the step began."""

SETTLE = """
    UPDATE steps SET is_unsettled = false WHERE id = ANY(CAST(:ids AS uuid[])) AND is_unsettled
"""

CORRECT_SHARES = """
    UPDATE keys SET share_set_id = said.share_set_id, generation = said.generation,
        next_share_set_id = NULL, next_users = '{}'
    FROM unnest(CAST(:key_id AS uuid[]), CAST(:share_set_id AS uuid[]),
        CAST(:generation AS integer[])) AS said(key_id, share_set_id, generation)
    WHERE keys.id = said.key_id AND keys.generation < said.generation
        AND (keys.next_share_set_id IS NULL OR keys.next_share_set_id = said.share_set_id)
    """

COME_INTO_USE = """
    UPDATE keys SET next_share_set_id = coming.share_set_id,
        next_users = string_to_array(coming.users, ' ')
    FROM unnest(CAST(:key_id AS uuid[]), CAST(:share_set_id AS uuid[]), CAST(:users AS varchar[]))
        AS coming(key_id, share_set_id, users)
    WHERE keys.id = coming.key_id AND keys.share_set_id IS DISTINCT FROM coming.share_set_id
    """

READ_OVERDUE = """
    SELECT DISTINCT steps.request_id FROM steps JOIN tasks ON tasks.step_id = steps.id
    WHERE steps.ended_at IS NULL AND tasks.outcome IS NULL AND {late}
    UNION SELECT steps.request_id FROM steps
    WHERE steps.ended_at IS NULL AND NOT EXISTS (
        SELECT FROM tasks WHERE tasks.step_id = steps.id AND (tasks.outcome IS NULL
            OR tasks.reported_at > now() - make_interval(secs => :report_seconds)))
    UNION SELECT steps.request_id FROM steps JOIN jobs ON jobs.id = steps.request_id
    WHERE is_unsettled AND jobs.finished_at IS NOT NULL AND jobs.run_after <= now()
    UNION SELECT id FROM jobs
    WHERE state = 'Queued' AND node_group = :group AND run_after <= now()
    UNION SELECT id FROM jobs
    WHERE state = 'Leased' AND node_group = :group AND NOT EXISTS (
        SELECT FROM steps WHERE steps.request_id = jobs.id AND steps.ended_at IS NULL)
    LIMIT :limit
""".replace("{late}", _LATE)
"""Late tasks, and reports, shares or ends that no replica has seen to."""

CLAIM_TASKS = """
    WITH claimable AS (
        SELECT free.step_id, free.signer
        FROM unnest(CAST(:nodes AS varchar[]), CAST(:kinds AS varchar[]), CAST(:slots AS int[]))
            AS claim(node, kinds, slots)
        JOIN nodes ON nodes.id = claim.node AND nodes.node_group = :group,
        LATERAL (
            SELECT tasks.step_id, tasks.signer FROM tasks JOIN steps ON steps.id = tasks.step_id
            WHERE tasks.signer = claim.node AND tasks.is_open AND tasks.lease IS NULL
                AND steps.ended_at IS NULL AND steps.deadline > now()
                AND steps.kind = ANY(string_to_array(claim.kinds, ' '))
            ORDER BY steps.created_at LIMIT claim.slots
            FOR UPDATE OF tasks SKIP LOCKED
        ) AS free
    ), claimed AS (
        UPDATE tasks SET lease = gen_random_uuid(),
            lease_until = now() + make_interval(secs => :lease_seconds)
        FROM claimable
        WHERE tasks.step_id = claimable.step_id AND tasks.signer = claimable.signer
        RETURNING tasks.step_id, tasks.signer, tasks.lease, tasks.outcome
    )
    SELECT claimed.step_id, claimed.signer, claimed.lease, claimed.outcome, steps.request_id,
        steps.kind, steps.job_id, steps.created_at, jobs.attempt, jobs.traceparent,
        coalesce(steps.payload, jobs.payload) AS payload,
        coalesce(steps.signature, jobs.signature) AS signature,
        coalesce(steps.signing_key_id, jobs.signing_key_id) AS signing_key_id,
        steps.ticket, steps.ticket_signature, steps.ticket_key_id, steps.delivery_ticket,
        steps.delivery_signature
    FROM claimed JOIN steps ON steps.id = claimed.step_id
    JOIN jobs ON jobs.id = steps.request_id
    """

RELEASE_TASKS = """
    UPDATE tasks SET lease = NULL, lease_until = NULL
    WHERE lease = ANY(CAST(:leases AS uuid[])) AND signer = :node AND is_open
    """

EXTEND_TASKS = """
    UPDATE tasks SET lease_until = now() + make_interval(secs => :lease_seconds)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:leases AS uuid[])) AS held(job_id, lease), steps
    WHERE tasks.signer = :node AND tasks.is_open AND tasks.lease = held.lease
        AND steps.id = tasks.step_id AND steps.job_id = held.job_id
    RETURNING held.job_id
    """

READ_STATES = """
    SELECT id, state FROM jobs WHERE id = ANY(CAST(:ids AS uuid[])) AND node_group = :group
"""

READ_TASKS = """
    SELECT tasks.step_id, tasks.lease, tasks.outcome, steps.request_id, steps.kind, steps.job_id,
        steps.created_at, coalesce(steps.payload, jobs.payload) AS payload, steps.ticket
    FROM steps JOIN tasks ON tasks.step_id = steps.id
    JOIN jobs ON jobs.id = steps.request_id
    WHERE steps.job_id = ANY(CAST(:ids AS uuid[])) AND tasks.signer = :node
        AND tasks.lease IS NOT NULL
    ORDER BY steps.number DESC
    """

RECORD = """
    UPDATE tasks SET outcome = reported.outcome, reported_at = now(), is_open = false
    FROM unnest(CAST(:steps AS uuid[]), CAST(:outcomes AS bytea[])) AS reported(step_id, outcome)
    WHERE tasks.step_id = reported.step_id AND tasks.signer = :node AND tasks.outcome IS NULL
    RETURNING tasks.step_id
    """

BLAME = """
    UPDATE steps SET culprits = array_append(culprits, CAST(:node AS varchar))
    WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT CAST(:node AS varchar) = ANY(culprits)
    RETURNING kind
    """

FINISH_SIGNED = """
    WITH signed AS (
        UPDATE tasks SET outcome = reported.outcome, reported_at = now(), is_open = false
        FROM unnest(CAST(:steps AS uuid[]), CAST(:signers AS varchar[]),
            CAST(:outcomes AS bytea[])) AS reported(step_id, signer, outcome)
        WHERE tasks.step_id = reported.step_id AND tasks.signer = reported.signer
            AND tasks.outcome IS NULL
        RETURNING tasks.step_id, tasks.signer
    ), ended AS (
        UPDATE steps SET ended_at = now(), ending = 'done'
        FROM signed WHERE steps.id = signed.step_id AND steps.ended_at IS NULL
        RETURNING steps.id
    )
    , others AS (
        UPDATE tasks SET is_open = false FROM ended
        WHERE tasks.step_id = ended.id AND is_open AND NOT EXISTS (
            SELECT FROM signed
            WHERE signed.step_id = tasks.step_id AND signed.signer = tasks.signer)
    )
    SELECT id FROM ended
    """
