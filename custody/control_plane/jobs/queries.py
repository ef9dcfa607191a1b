"""The queue's SQL: nothing else writes jobs.state. Each text takes a whole batch, as arrays.

``custody/control_plane/jobs/queue.py`` runs it; BEGIN_STEPS, for the jobs that signers do in steps,
``custody/control_plane/conductor/conductor.py``.
"""

from custody.control_plane.jobs.notifications import (
    DONE_CHANNEL,
    IDS_PER_NOTIFICATION,
    JOBS_CHANNEL,
    TASKS_CHANNEL,
)

_STOPPED = """(
        SELECT true FROM keys AS above
        WHERE coalesce(above.root_id, above.id) = {root_id}
            AND (above.archived_at IS NOT NULL OR above.archiving IS NOT NULL)
            AND coalesce(above.path, '{}') = ({path})[1 : cardinality(coalesce(above.path, '{}'))]
            AND (above.archived_at IS NOT NULL OR EXISTS (
                SELECT FROM jobs WHERE jobs.id = above.archiving AND jobs.finished_at IS NULL
            ))
        LIMIT 1
    )"""


def stopped(root_id: str, path: str) -> str:
    """Return the SQL of true for a key that is archived or being archived, else null.

    The arguments are SQL expressions: the root's id, and the path from there, {} for the root.
    A scalar subquery: one look into the index for each key, whatever the plan.
    """
    return _STOPPED.replace("{root_id}", root_id).replace("{path}", path)


_KEY_STOPPED = """(
        SELECT {stopped} FROM keys AS asked WHERE asked.id = new.key_id
    )""".replace(
    "{stopped}", stopped("coalesce(asked.root_id, asked.id)", "coalesce(asked.path, '{}')")
)

ADD = """
    WITH added AS (
    INSERT INTO jobs (id, kind, endpoint, application_id, key_id, node_group, external_id,
        body_digest, payload, signature, signing_key_id, created_at, expires_at, outcome,
        traceparent, state, finished_at)
    SELECT new.*, CASE WHEN new.outcome IS NULL THEN 'Queued' ELSE 'Done' END,
        CASE WHEN new.outcome IS NOT NULL THEN now() END
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:kind AS varchar[]), CAST(:endpoint AS varchar[]),
        CAST(:application_id AS uuid[]), CAST(:key_id AS uuid[]), CAST(:node_group AS varchar[]),
        CAST(:external_id AS varchar[]), CAST(:body_digest AS bytea[]), CAST(:payload AS bytea[]),
        CAST(:signature AS bytea[]), CAST(:signing_key_id AS varchar[]),
        CAST(:created_at AS timestamptz[]), CAST(:expires_at AS timestamptz[]),
        CAST(:outcome AS bytea[]), CAST(:traceparent AS varchar[])
    ) AS new(id, kind, endpoint, application_id, key_id, node_group, external_id, body_digest,
        payload, signature, signing_key_id, created_at, expires_at, outcome, traceparent)
    WHERE (  -- a scalar subquery: one look into the index for each job, whatever the plan
        SELECT true FROM spent_external_ids AS spent
        WHERE spent.application_id = new.application_id AND spent.endpoint = new.endpoint
            AND spent.external_id = new.external_id
    ) IS NULL AND (new.kind <> 'Sign' OR {stopped} IS NULL)
    ON CONFLICT DO NOTHING  -- the external id's, or the id's, when this is run twice
    RETURNING id, node_group
    ), announced AS MATERIALIZED (
        SELECT pg_notify('{jobs}', concat_ws(' ', CAST(:origin AS text), node_group))
        FROM (SELECT DISTINCT node_group FROM added) AS groups WHERE CAST(:announce AS boolean)
    )
    SELECT id, (SELECT count(*) FROM announced) FROM added
""".replace("{jobs}", JOBS_CHANNEL).replace("{stopped}", _KEY_STOPPED)
"""Leaves out jobs whose external id is taken or spent, and signatures of archived keys."""

_WORKS = "coalesce(CAST(health ->> 'works' AS boolean), true)"
"""True for a row of ``nodes`` whose last heartbeat says that the node takes jobs."""

CLAIM = """
    WITH claimable AS (
        SELECT id FROM jobs
        WHERE state = 'Queued' AND node_group = :group AND run_after <= now()
            AND expires_at > now() AND kind = ANY(CAST(:kinds AS varchar[]))
            AND NOT CAST(:node AS varchar) = ANY(refused_by)
            AND EXISTS (
                SELECT FROM nodes WHERE id = :node AND node_group = :group AND {works}
            ) AND (
                last_node IS DISTINCT FROM :node
                OR run_after <= now() - make_interval(secs => :second_chance)
                OR NOT EXISTS (
                    SELECT FROM nodes WHERE node_group = :group AND id <> :node AND {works}
                        AND last_seen > now() - make_interval(secs => :seen_lately)
                )
            )
        ORDER BY run_after LIMIT :slots
        FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE jobs SET state = 'Leased', attempt = attempt + 1, lease = gen_random_uuid(),
            lease_node = :node, lease_until = now() + make_interval(secs => :lease_seconds),
            lease_received = false
        FROM claimable WHERE jobs.id = claimable.id
        RETURNING jobs.*
    )
    SELECT claimed.id, kind, payload, signature, signing_key_id, state, attempt, lease, lease_node,
        refused_by, outcome, traceparent, scheme, curve, network, public_key
    FROM claimed LEFT JOIN keys ON keys.id = claimed.key_id
""".replace("{works}", _WORKS)
"""The node that failed a job last gets it later than the others, unless there are none."""

RELEASE = """
    UPDATE jobs SET state = 'Queued', attempt = attempt - 1, run_after = now(),
        lease = NULL, lease_node = NULL, lease_until = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:leases AS uuid[])) AS given(id, lease)
    WHERE jobs.id = given.id AND state = 'Leased' AND jobs.lease = given.lease
    RETURNING jobs.id
"""

EXTEND = """
    UPDATE jobs SET lease_until = now() + make_interval(secs => :lease_seconds),
        lease_received = true
    FROM unnest(CAST(:ids AS uuid[]), CAST(:leases AS uuid[])) AS held(id, lease)
    WHERE jobs.id = held.id AND jobs.lease = held.lease
        AND lease_node = :node AND state = 'Leased'
    RETURNING jobs.id
"""

_FACTS = """
    SELECT jobs.id, kind, payload, state, attempt, lease, lease_node, refused_by, outcome,
        last_failure, scheme, curve, network, public_key
"""

_WILLING = """
        , (SELECT coalesce(array_agg(id), '{}') FROM nodes WHERE node_group = :group
            AND last_seen > now() - make_interval(secs => :seen_lately)) AS willing
"""

_WITH_KEYS = """
    FROM jobs LEFT JOIN keys ON keys.id = jobs.key_id  -- an import has none
"""

_ARE_REPORTED = """
    WHERE jobs.id = ANY(CAST(:ids AS uuid[])) AND jobs.node_group = :group
"""

_HAVE_EXPIRED = """
    WHERE finished_at IS NULL AND expires_at <= now() AND NOT must_finish
    ORDER BY expires_at LIMIT :limit
"""

_LAPSE_TOO_OFTEN = """
    WHERE state = 'Leased' AND lease_until <= now() AND expires_at > now()
        AND lapses + CAST(lease_received AS int) >= :max_lapses
    ORDER BY lease_until LIMIT :limit
"""

READ_REPORTED = _FACTS + _WILLING + _WITH_KEYS + _ARE_REPORTED
READ_EXPIRED = _FACTS + _WITH_KEYS + _HAVE_EXPIRED
READ_LAPSING_TOO_OFTEN = _FACTS + _WITH_KEYS + _LAPSE_TOO_OFTEN

_CHANGE = """
    WITH change AS (
        SELECT * FROM unnest(
            CAST(:id AS uuid[]), CAST(:seen_state AS varchar[]), CAST(:seen_lease AS uuid[]),
            CAST(:state AS varchar[]), CAST(:outcome AS bytea[]), CAST(:failure AS bytea[]),
            CAST(:delay AS float8[]), CAST(:refuser AS varchar[]),
            CAST(:public_key AS bytea[]), CAST(:protection AS varchar[]),
            CAST(:address AS varchar[]), CAST(:attestations AS jsonb[]),
            CAST(:chain_code AS bytea[]), CAST(:generation AS int[]), CAST(:share_set_id AS uuid[]),
            CAST(:is_expiry AS boolean[]), CAST(:archives AS boolean[])
        ) AS change(id, seen_state, seen_lease, state, outcome, failure, delay, refuser,
            public_key, protection, address, attestations, chain_code, generation, share_set_id,
            is_expiry, archives)
    ), changed AS (
        UPDATE jobs SET
            state = change.state,
            outcome = change.outcome,
            last_failure = coalesce(change.failure, last_failure),
            run_after = now() + make_interval(secs => change.delay),
            refused_by = CASE WHEN refuser IS NULL THEN refused_by
                ELSE array_append(refused_by, refuser) END,
            last_node = coalesce(lease_node, last_node), lapses = 0,
            lease = NULL, lease_node = NULL, lease_until = NULL,
            finished_at = CASE WHEN change.state <> 'Queued' THEN now() END
        FROM change
        WHERE jobs.id = change.id AND jobs.state = seen_state
            AND jobs.lease IS NOT DISTINCT FROM seen_lease
            AND NOT (is_expiry AND jobs.must_finish)
        RETURNING jobs.id, jobs.key_id, jobs.node_group, jobs.finished_at IS NOT NULL AS final,
            jobs.run_after <= now() AS due, change.public_key, change.protection, change.address,
            change.attestations, change.chain_code, change.generation, change.share_set_id,
            change.archives
    )
"""

_CHANGE_KEYS = """
    , changed_keys AS (
        UPDATE keys SET public_key = changed.public_key, protection = changed.protection,
            attestations = coalesce(changed.attestations, keys.attestations),
            chain_code = changed.chain_code,
            generation = changed.generation, share_set_id = changed.share_set_id,
            next_share_set_id = NULL, next_users = '{}'
        FROM changed WHERE keys.id = changed.key_id AND changed.public_key IS NOT NULL
    ), changed_wallets AS (
        UPDATE wallets SET address = changed.address
        FROM changed WHERE wallets.key_id = changed.key_id AND changed.address IS NOT NULL
    )
"""

_CHANGE_ARCHIVALS = """
    , changed_archivals AS (
        UPDATE keys SET archived_at = CASE WHEN archives THEN coalesce(archived_at, now()) END,
            archiving = nullif(archiving, changed.id)
        FROM changed WHERE keys.id = changed.key_id AND archives IS NOT NULL
    )
"""

_ANNOUNCE = (
    """
    SELECT array_agg(id) AS ids, final, due, node_group, CASE
        WHEN NOT CAST(:announce AS boolean) THEN NULL
        WHEN final THEN pg_notify('{done}', :origin || ' ' || string_agg(id_text, ' '))
        WHEN due THEN pg_notify('{jobs}', :origin || ' ' || node_group)
        END
    FROM (
        SELECT id, CAST(id AS text) AS id_text, final, due, node_group,
            row_number() OVER (PARTITION BY final, due, node_group) / {part_size} AS part
        FROM changed
    ) AS parts
    GROUP BY final, due, node_group, part
""".replace("{jobs}", JOBS_CHANNEL)
    .replace("{done}", DONE_CHANNEL)
    .replace("{part_size}", str(IDS_PER_NOTIFICATION))
)

WRITE = _CHANGE + _ANNOUNCE
WRITE_WITH_KEYS = _CHANGE + _CHANGE_KEYS + _ANNOUNCE
WRITE_ARCHIVALS = _CHANGE + _CHANGE_ARCHIVALS + _ANNOUNCE
"""Only of jobs that archive or un-archive: another change could be of the same row of ``keys``."""

KEEP_LATE = """
    UPDATE jobs SET late_outcome = late.outcome
    FROM unnest(CAST(:ids AS uuid[]), CAST(:outcomes AS bytea[])) AS late(id, outcome)
    WHERE jobs.id = late.id AND late_outcome IS NULL
    RETURNING jobs.id
"""

LAPSE = """
    WITH lapsing AS (
        SELECT id FROM jobs
        WHERE state = 'Leased' AND lease_until <= now() AND expires_at > now()
            AND lapses + CAST(lease_received AS int) < :max_lapses
        ORDER BY lease_until LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ), lapsed AS (
        UPDATE jobs SET state = 'Queued', lapses = lapses + CAST(lease_received AS int),
            last_node = lease_node,
            -- apart from the others that lapsed with it: one that ends its node ends it alone
            run_after = now() + make_interval(secs => lapses * random() * :spread_seconds),
            lease = NULL, lease_node = NULL, lease_until = NULL
        FROM lapsing WHERE jobs.id = lapsing.id
        RETURNING node_group
    ), due AS (
        SELECT node_group FROM jobs
        WHERE state = 'Queued' AND attempt > 0 AND run_after <= now()
            AND run_after > now() - make_interval(secs => :retry_window)
    )
    SELECT node_group, sum(lapsed) AS lapsed,
        pg_notify('{jobs}', :origin || ' ' || node_group)
    FROM (
        SELECT node_group, count(*) AS lapsed FROM lapsed GROUP BY node_group
        UNION ALL SELECT DISTINCT node_group, 0 FROM due
    ) AS groups
    GROUP BY node_group
""".replace("{jobs}", JOBS_CHANNEL)

READ_STRANDED = """
    SELECT jobs.id, (
            SELECT string_agg(nodes.id || ': ' || CASE
                WHEN last_seen > now() - make_interval(secs => :seen_lately)
                    THEN coalesce(left(health ->> 'detail', 200), 'takes no jobs')
                ELSE 'away' END, '; ' ORDER BY nodes.id)
            FROM nodes WHERE nodes.node_group = jobs.node_group
        ) AS nodes
    FROM jobs LEFT JOIN keys ON keys.id = jobs.key_id
    WHERE coalesce(keys.store, 'hsm') = 'hsm'
        AND state = 'Queued' AND last_failure IS NULL AND expires_at > now()
        AND run_after <= now() - make_interval(secs => :stranded_after)
        AND NOT EXISTS (
            SELECT FROM nodes WHERE nodes.node_group = jobs.node_group AND {works}
                AND last_seen > now() - make_interval(secs => :seen_lately)
        )
    ORDER BY run_after LIMIT :limit
""".replace("{works}", _WORKS)
"""Jobs that no node has begun and none can; the conductor says why of those for signers."""

NOTE_STRANDED = """
    UPDATE jobs SET last_failure = noted.failure
    FROM unnest(CAST(:ids AS uuid[]), CAST(:failures AS bytea[])) AS noted(id, failure)
    WHERE jobs.id = noted.id AND state = 'Queued' AND last_failure IS NULL
    RETURNING jobs.id
"""

BEGIN_STEPS = """
    WITH moved AS (
        UPDATE jobs SET
            state = move.state,
            attempt = attempt + move.attempts,
            last_failure = coalesce(move.failure, last_failure),
            run_after = now() + make_interval(secs => move.delay),
            must_finish = jobs.must_finish OR move.must_finish
        FROM unnest(
            CAST(:move_id AS uuid[]), CAST(:move_seen_state AS varchar[]),
            CAST(:move_state AS varchar[]), CAST(:move_attempts AS int[]),
            CAST(:move_failure AS bytea[]), CAST(:move_delay AS float8[]),
            CAST(:move_must_finish AS boolean[])
        ) AS move(id, seen_state, state, attempts, failure, delay, must_finish)
        WHERE jobs.id = move.id AND jobs.state = seen_state
        RETURNING jobs.id
    ), begun AS (
        INSERT INTO steps (id, request_id, number, kind, job_id, share_set_id, payload, signature,
            signing_key_id, ticket, ticket_signature, ticket_key_id, delivery_ticket,
            delivery_signature, deadline, is_unsettled)
        SELECT new.* FROM unnest(
            CAST(:step_id AS uuid[]), CAST(:step_request_id AS uuid[]), CAST(:step_number AS int[]),
            CAST(:step_kind AS varchar[]), CAST(:step_job_id AS uuid[]),
            CAST(:step_share_set_id AS uuid[]), CAST(:step_payload AS bytea[]),
            CAST(:step_signature AS bytea[]),
            CAST(:step_signing_key_id AS varchar[]), CAST(:step_ticket AS bytea[]),
            CAST(:step_ticket_signature AS bytea[]), CAST(:step_ticket_key_id AS varchar[]),
            CAST(:step_delivery_ticket AS bytea[]), CAST(:step_delivery_signature AS bytea[]),
            CAST(:step_deadline AS timestamptz[]), CAST(:step_is_unsettled AS boolean[])
        ) AS new(id, request_id)
        WHERE request_id IN (SELECT id FROM moved)
        RETURNING id
    ), given AS (
        INSERT INTO tasks (step_id, signer)
        SELECT * FROM unnest(CAST(:task_step_id AS uuid[]), CAST(:task_signer AS varchar[]))
            AS new(step_id, signer)
        WHERE step_id IN (SELECT id FROM begun)
        RETURNING signer
    ), announced AS MATERIALIZED (
        SELECT pg_notify('{tasks}', :origin || ' ' || string_agg(DISTINCT signer, ' '))
        FROM given WHERE CAST(:announce AS boolean) HAVING count(*) > 0
    )
    SELECT id, (SELECT count(*) FROM announced) FROM moved
""".replace("{tasks}", TASKS_CHANNEL)
"""Move jobs, and give signers the tasks of their next steps; returns the jobs that were moved."""
