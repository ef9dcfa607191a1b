"""The SQL of shares. The only place that writes their state.

Each query takes arrays, one element for each share. A change that is not allowed has no state
to go to, which NOT NULL refuses; so its transaction, with the outcome in it, is not committed.
"""

from custody.node.archived_sql import ROOT, is_archived

FACTS = """
    key_id, ceremony, state, generation, protocol, group_name, threshold, signers, share_index,
    network, public_key, chain_code, transcript, made_for, proved_with, proved, encryption_key,
    created_at, uncertain
"""

FIND = f"""
    SELECT {FACTS} FROM shares
    WHERE key_id = :key_id AND ceremony = :ceremony AND generation IS NOT NULL
"""

ACTIVE = f"SELECT {FACTS} FROM shares WHERE key_id = :key_id AND state = 'active'"

KNOWN = f"""
    SELECT {FACTS} FROM shares
    WHERE key_id = :key_id AND state IN ('active', 'repaired', 'retired', 'erased')
    ORDER BY generation DESC, changed_at DESC LIMIT 1
"""

WAITING = f"""
    SELECT {FACTS} FROM shares
    WHERE key_id = :key_id AND state IN ('confirmed', 'promised')
"""

REMEMBERS = """
    SELECT EXISTS (SELECT FROM shares WHERE key_id = :key_id AND ceremony = :ceremony)
        OR EXISTS (SELECT FROM used_tickets WHERE ceremony = :ceremony AND used_at >= :since)
        AS is_known
"""

SECRETS = """
    SELECT data_key, ciphertext, encryption_key FROM shares
    WHERE key_id = :key_id AND ceremony = :ceremony AND ciphertext IS NOT NULL
"""

_NEW_SHARES = """
    SELECT key_id, ceremony, state, generation, protocol, group_name, threshold,
        string_to_array(signers, ',')::varchar[] AS signers, share_index, network, public_key,
        chain_code, transcript, made_for, data_key, ciphertext, encryption_key
    FROM unnest(:key_id::uuid[], :ceremony::uuid[], :state::varchar[],
        :generation::integer[], :protocol::varchar[], :group_name::varchar[],
        :threshold::integer[], :signers::varchar[], :share_index::integer[],
        :network::varchar[], :public_key::bytea[], :chain_code::bytea[],
        :transcript::bytea[], :made_for::varchar[], :data_key::bytea[],
        :ciphertext::bytea[], :encryption_key::varchar[])
        AS new (key_id, ceremony, state, generation, protocol, group_name, threshold, signers,
            share_index, network, public_key, chain_code, transcript, made_for, data_key,
            ciphertext, encryption_key)
"""

_SAME_KEY = """
    ({0}.protocol, {0}.group_name, {0}.threshold, {0}.signers, {0}.share_index, {0}.network,
        {0}.public_key, {0}.chain_code)
    IS NOT DISTINCT FROM
    ({1}.protocol, {1}.group_name, {1}.threshold, {1}.signers, {1}.share_index, {1}.network,
        {1}.public_key, {1}.chain_code)
"""
"""What never changes from one set of a key's shares to the next (custody/node/stored_key.py)."""

INSERT = f"""
    WITH new AS ({_NEW_SHARES})
    INSERT INTO shares (key_id, ceremony, state, generation, protocol, group_name, threshold,
        signers, share_index, network, public_key, chain_code, transcript, made_for, data_key,
        ciphertext, encryption_key)
    SELECT key_id, ceremony,
        CASE WHEN NOT EXISTS (
            SELECT FROM shares AS used
            WHERE used.key_id = new.key_id AND (used.state = 'erased'
                OR (used.state IN ('active', 'repaired', 'retired')
                    AND NOT ({_SAME_KEY.format("used", "new")})))
        ) THEN state END,
        generation, protocol, group_name, threshold, signers, share_index, network, public_key,
        chain_code, transcript, made_for, data_key, ciphertext, encryption_key
    FROM new
"""
"""A key that was ever in use stays the key that it is, whatever is generated under its id. A key
whose shares an operator has erased gets no others."""

_RETIRED = f"""
    retired AS (
        UPDATE shares SET state = 'retired', changed_at = now(), uncertain = false,
            data_key = NULL, ciphertext = NULL, encryption_key = NULL
        FROM new
        WHERE shares.key_id = new.key_id AND shares.ceremony <> new.ceremony
            AND shares.state IN ('active', 'repaired')
            AND (shares.generation < new.generation OR shares.uncertain)
            AND {_SAME_KEY.format("shares", "new")}
        RETURNING shares.ceremony
    )
"""
"""The sets that the new ones take the place of: older ones of the same key, and uncertain ones,
which may have been abandoned. Asked for before anything else is done; a set that is to take the
place of any other meets the unique index."""

ACTIVATE = f"""
    WITH wanted AS (
        SELECT * FROM unnest(:key_id::uuid[], :ceremony::uuid[], :made_for::varchar[])
            AS wanted (key_id, ceremony, made_for)
    ), new AS (
        SELECT shares.* FROM shares JOIN wanted USING (key_id, ceremony)
    ), {_RETIRED}
    UPDATE shares SET changed_at = now(),
        state = CASE
            WHEN shares.state IN ('promised', 'active') THEN 'active' END,
        made_for = coalesce(shares.made_for, wanted.made_for)
    FROM wanted
    WHERE shares.key_id = wanted.key_id AND shares.ceremony = wanted.ceremony
        AND (SELECT count(*) FROM retired) >= 0
"""

REPAIR = f"""
    WITH new AS ({_NEW_SHARES}), {_RETIRED}
    INSERT INTO shares (key_id, ceremony, state, generation, protocol, group_name, threshold,
        signers, share_index, network, public_key, chain_code, transcript, made_for, data_key,
        ciphertext, encryption_key)
    SELECT key_id, ceremony,
        CASE WHEN NOT EXISTS (
            SELECT FROM shares AS used WHERE used.key_id = new.key_id AND used.state = 'erased'
        ) THEN state END,
        generation, protocol, group_name, threshold, signers, share_index, network, public_key,
        chain_code, transcript, made_for, data_key, ciphertext, encryption_key
    FROM new WHERE (SELECT count(*) FROM retired) >= 0
    ON CONFLICT (key_id, ceremony) DO UPDATE SET changed_at = now(), uncertain = false,
        state = CASE
            WHEN shares.state = 'abandoned' THEN 'repaired'
            WHEN shares.state IN ('active', 'repaired', 'confirmed', 'promised', 'discarded')
                AND shares.generation = excluded.generation
                AND {_SAME_KEY.format("shares", "excluded")}
            THEN 'repaired' END,
        generation = excluded.generation, protocol = excluded.protocol,
        group_name = excluded.group_name, threshold = excluded.threshold,
        signers = excluded.signers, share_index = excluded.share_index,
        network = excluded.network, public_key = excluded.public_key,
        chain_code = excluded.chain_code, transcript = excluded.transcript,
        made_for = coalesce(shares.made_for, excluded.made_for),
        data_key = excluded.data_key, ciphertext = excluded.ciphertext,
        encryption_key = excluded.encryption_key
"""

RESTORE = f"""
    WITH new AS ({_NEW_SHARES}), restored AS (
        INSERT INTO shares (key_id, ceremony, state, generation, protocol, group_name, threshold,
            signers, share_index, network, public_key, chain_code, transcript, made_for, data_key,
            ciphertext, encryption_key, proved_with, uncertain)
        SELECT new.*, array_remove(signers, signers[share_index]), true FROM new
        ON CONFLICT (key_id, ceremony) DO NOTHING
        RETURNING key_id
    ), marks AS (
        DELETE FROM restore_watch WHERE EXISTS (SELECT FROM restored)
    )
    SELECT key_id FROM restored
"""
"""A share from a share copy, of a key that this database does not know. Its set may have been
abandoned: every pending share has a copy before this signer promises the set. The signer may have
started with the empty database: without its mark the next start notices the restore, and asks."""

_STATED = """
    SELECT * FROM unnest(:key_ids::uuid[], :ceremonies::uuid[], :generations::integer[],
        :thresholds::integer[]) AS stated (key_id, ceremony, generation, threshold)
"""

MAKE_CERTAIN = f"""
    WITH stated AS ({_STATED})
    UPDATE shares SET changed_at = now(), uncertain = false
    WHERE uncertain AND state IN ('active', 'repaired') AND (
        key_id = ANY(:trusted::uuid[])
        OR (key_id, ceremony, generation, threshold) IN (SELECT * FROM stated))
    RETURNING key_id
"""
"""Restored shares of the sets that t signers use. ``trusted``: keys of which the operator does
without the answers of all other signers."""

COUNT_UNCERTAIN = """
    SELECT count(*) AS number FROM shares WHERE uncertain AND state IN ('active', 'repaired')
"""

PROVE = """
    WITH proofs AS (
        SELECT key_id, ceremony, string_to_array(string_agg(others, ','), ',') AS others
        FROM unnest(:key_id::uuid[], :ceremony::uuid[], :others::varchar[])
            AS proof (key_id, ceremony, others)
        GROUP BY key_id, ceremony
    )
    UPDATE shares SET proved_with = ARRAY(
        SELECT DISTINCT unnest(shares.proved_with || proofs.others::varchar[]) ORDER BY 1)
    FROM proofs
    WHERE shares.key_id = proofs.key_id AND shares.ceremony = proofs.ceremony
        AND shares.state IN ('confirmed', 'promised')
"""
"""The signers that each share has signed with, until all that must be among them are."""

PROMISE = """
    UPDATE shares SET changed_at = now(),
        state = CASE WHEN shares.state = 'confirmed' AND shares.proved THEN 'promised' END
    FROM unnest(:key_id::uuid[], :ceremony::uuid[]) AS wanted (key_id, ceremony)
    WHERE shares.key_id = wanted.key_id AND shares.ceremony = wanted.ceremony
"""

ABANDON = """
    INSERT INTO shares (key_id, ceremony, state)
    SELECT DISTINCT key_id, ceremony, 'abandoned'
    FROM unnest(:key_id::uuid[], :ceremony::uuid[]) AS wanted (key_id, ceremony)
    ON CONFLICT (key_id, ceremony) DO UPDATE SET changed_at = now(),
        state = CASE WHEN shares.state IN ('confirmed', 'abandoned') THEN 'abandoned' END,
        data_key = NULL, ciphertext = NULL, encryption_key = NULL
"""

DISCARD = """
    UPDATE shares SET changed_at = now(),
        state = CASE WHEN shares.state IN ('promised', 'discarded') THEN 'discarded' END,
        data_key = NULL, ciphertext = NULL, encryption_key = NULL
    FROM unnest(:key_id::uuid[], :ceremony::uuid[]) AS wanted (key_id, ceremony)
    WHERE shares.key_id = wanted.key_id AND shares.ceremony = wanted.ceremony
"""

DISCARD_BY_HAND = """
    UPDATE shares SET changed_at = now(),
        state = CASE state WHEN 'confirmed' THEN 'abandoned' ELSE 'discarded' END,
        data_key = NULL, ciphertext = NULL, encryption_key = NULL
    WHERE key_id = :key_id AND ceremony = :ceremony AND state IN ('confirmed', 'promised')
    RETURNING key_id
"""
"""The operators', who can see that no signer uses the set."""

KEEP_OUT_WRITERS = "LOCK TABLE shares IN SHARE ROW EXCLUSIVE MODE"
"""A ceremony of the key may be about to store a share, which ERASE would not see."""

ERASE = f"""
    UPDATE shares SET changed_at = now(), uncertain = false,
        state = CASE state WHEN 'confirmed' THEN 'abandoned' ELSE 'erased' END,
        data_key = NULL, ciphertext = NULL, encryption_key = NULL
    WHERE key_id = :key_id AND state IN ('confirmed', 'promised', 'active', 'repaired')
        AND {is_archived(":key_id::uuid", f"'{ROOT}'")}
        AND EXISTS (SELECT FROM shares AS used
            WHERE used.key_id = :key_id AND used.state IN ('active', 'repaired'))
    RETURNING ceremony, state, public_key
"""
"""All sets of an archived key that was in use here. A confirmed set can still be abandoned."""

ERASABLE = f"""
    SELECT {FACTS}, {is_archived("key_id", f"'{ROOT}'")} AS archived FROM shares
    WHERE key_id = :key_id AND state IN ('active', 'repaired')
"""
"""The share in use, for the question to the operator."""

OF_KEPT_KEYS = """
    state IN ('confirmed', 'promised', 'active', 'repaired', 'retired')
    AND NOT EXISTS (
        SELECT FROM shares AS gone WHERE gone.key_id = shares.key_id AND gone.state = 'erased'
    )
"""
"""The sets of keys with which this signer still has to do: an operator has not erased them."""

GROUPS = f"""
    SELECT DISTINCT ON (key_id) key_id, threshold, signers FROM shares
    WHERE {OF_KEPT_KEYS}
    ORDER BY key_id, generation DESC
"""
"""The group of each key. Every set of a key in use has the same group."""

RETIRE_REPLACED = f"""
    WITH stated AS ({_STATED})
    UPDATE shares SET changed_at = now(), data_key = NULL, ciphertext = NULL, encryption_key = NULL,
        uncertain = false,
        state = CASE WHEN shares.state IN ('active', 'repaired') THEN 'retired' ELSE 'discarded' END
    FROM stated
    WHERE shares.key_id = stated.key_id AND shares.ceremony <> stated.ceremony
        AND shares.threshold = stated.threshold
        AND ((shares.state IN ('active', 'repaired') AND shares.generation < stated.generation)
            OR (shares.state IN ('confirmed', 'promised')
                AND shares.generation <= stated.generation))
    RETURNING shares.key_id
"""
"""Erases what a restored database still has of sets that t peers have replaced. This signer may
have promised or abandoned a pending one, and has forgotten which: so it states neither again."""

USE_PROVED = f"""
    WITH stated AS ({_STATED})
    UPDATE shares SET changed_at = now(), state = 'active'
    FROM stated
    WHERE shares.key_id = stated.key_id AND shares.ceremony = stated.ceremony
        AND shares.threshold = stated.threshold
        AND shares.state IN ('confirmed', 'promised')
        AND NOT EXISTS (SELECT FROM shares AS used WHERE used.key_id = stated.key_id
            AND used.state IN ('active', 'repaired'))
"""
"""Takes a pending set into use that t peers use: so all n, this signer too, have promised it."""

_HAS_SET = """
    SELECT FROM shares WHERE shares.key_id = {0}.key_id AND (shares.state = 'erased'
        OR (shares.state IN ('promised', 'active', 'repaired') AND NOT shares.uncertain
            AND shares.generation >= {0}.generation))
"""
"""The set or a later one is here, or an operator has erased the key's shares for good."""

NEED_REPAIRS = f"""
    WITH stated AS ({_STATED}), told AS (
        SELECT stated.*, told_by FROM stated JOIN (
            SELECT * FROM unnest(:key_ids::uuid[], :told_by::varchar[]) AS each (key_id, told_by)
        ) AS each USING (key_id)
    )
    INSERT INTO needed_repairs (key_id, ceremony, generation, threshold, told_by)
    SELECT key_id, ceremony, generation, threshold, string_to_array(told_by, ',') FROM told
    WHERE NOT EXISTS ({_HAS_SET.format("told")})
    ON CONFLICT (key_id) DO UPDATE SET ceremony = excluded.ceremony,
        generation = excluded.generation, threshold = excluded.threshold,
        told_by = excluded.told_by, noticed_at = now()
"""

NEEDED_REPAIRS = f"""
    SELECT key_id, ceremony, generation, threshold, told_by, noticed_at FROM needed_repairs
    WHERE NOT EXISTS ({_HAS_SET.format("needed_repairs")})
    ORDER BY noticed_at, key_id
"""
"""Keys whose share set t peers use, and this signer does not have."""

LIST = f"""
    SELECT key_id, ceremony, state, generation, protocol, group_name, threshold, signers,
        share_index, network, public_key, proved, encryption_key, uncertain, created_at, changed_at,
        CAST(made_for::jsonb ->> 'imported' AS boolean) IS TRUE AS imported,
        {is_archived("key_id", f"'{ROOT}'")} AS archived
    FROM shares
    WHERE :all OR state IN ('confirmed', 'promised', 'active', 'repaired')
    ORDER BY created_at DESC, key_id, ceremony LIMIT :limit
"""

KEPT = f"""
    SELECT {FACTS} FROM shares
    WHERE ciphertext IS NOT NULL
        AND (:key_ids::uuid[] = '{{}}' OR key_id = ANY(:key_ids::uuid[]))
        AND (key_id, ceremony) > (:last_key::uuid, :last_ceremony::uuid)
    ORDER BY key_id, ceremony LIMIT :limit
"""

HELD = f"""
    SELECT {FACTS} FROM shares
    WHERE (ciphertext IS NOT NULL OR state = 'erased')
        AND (key_id, ceremony) > (:last_key::uuid, :last_ceremony::uuid)
    ORDER BY key_id, ceremony LIMIT :limit
"""
"""For the inventory, which also says what an operator has erased."""

COUNT_KEPT = """
    SELECT count(*) AS number FROM shares
    WHERE ciphertext IS NOT NULL
        AND (:key_ids::uuid[] = '{}' OR key_id = ANY(:key_ids::uuid[]))
"""

UNRELATED = """
    SELECT (SELECT count(*) FROM journal) AS jobs,
        (SELECT count(*) FROM shares
            WHERE NOT (key_id, ceremony) IN (
                SELECT * FROM unnest(:key_ids::uuid[], :ceremonies::uuid[]))) AS shares
"""
"""What a fresh database does not have, beside the shares that a restore puts there."""
