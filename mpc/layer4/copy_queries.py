"""The SQL of share copies. A copy is for one place (bucket and prefix) and one customer key."""

INSERT = """
    INSERT INTO share_copies (key_id, ceremony, place, customer_key, name, content)
    SELECT * FROM unnest(:key_id::uuid[], :ceremony::uuid[], :place::varchar[],
        :customer_key::varchar[], :name::varchar[], :content::bytea[])
    ON CONFLICT DO NOTHING
"""
"""A copy that exists stays, with its bytes: what another process has made is dropped."""

_HERE = "copy.place = :place AND copy.customer_key = :customer_key"
_KEPT = "shares.state IN ('confirmed', 'promised', 'active', 'repaired')"

FIND = f"""
    SELECT stored_at, last_fault, attempts FROM share_copies AS copy
    WHERE key_id = :key_id AND ceremony = :ceremony AND {_HERE}
"""

DUE = f"""
    SELECT copy.key_id, copy.ceremony, copy.name, copy.content
    FROM share_copies AS copy JOIN shares USING (key_id, ceremony)
    WHERE {_HERE} AND copy.stored_at IS NULL AND {_KEPT} AND copy.retry_at <= now()
    ORDER BY copy.retry_at LIMIT :limit
"""

STORED = f"""
    UPDATE share_copies AS copy
    SET stored_at = now(), content = NULL, attempts = attempts + 1, last_fault = NULL
    WHERE key_id = :key_id AND ceremony = :ceremony AND {_HERE} AND stored_at IS NULL
"""

FAILED = f"""
    UPDATE share_copies AS copy
    SET attempts = attempts + 1, last_fault = :fault,
        retry_at = now() + interval '1 second' * (0.75 + random() / 4)
            * least(:longest_pause::integer, power(2, least(attempts, 16)))
    WHERE key_id = :key_id AND ceremony = :ceremony AND {_HERE} AND stored_at IS NULL
"""
"""The pause doubles from one second on, and is up to a quarter shorter, so that retries spread."""

RETRY_NOW = f"""
    UPDATE share_copies AS copy SET retry_at = now()
    WHERE key_id = :key_id AND ceremony = :ceremony AND {_HERE} AND stored_at IS NULL
        AND retry_at > now()
"""

RETRY_ALL_NOW = f"""
    UPDATE share_copies AS copy SET retry_at = now()
    WHERE {_HERE} AND stored_at IS NULL AND retry_at > now()
"""

FORGET = """
    DELETE FROM share_copies AS copy USING shares
    WHERE copy.stored_at IS NULL AND shares.key_id = copy.key_id
        AND shares.ceremony = copy.ceremony
        AND shares.state IN ('retired', 'discarded', 'abandoned', 'erased')
"""
"""Copies that were never stored, of shares that are erased."""

COUNTS = f"""
    SELECT count(*) AS shares,
        count(copy.stored_at) AS stored,
        count(*) FILTER (WHERE copy.key_id IS NOT NULL AND copy.stored_at IS NULL) AS waiting,
        count(*) FILTER (WHERE copy.key_id IS NULL) AS missing,
        extract(epoch FROM now() - min(copy.created_at)
            FILTER (WHERE copy.stored_at IS NULL))::float AS oldest_seconds,
        (array_agg(copy.last_fault ORDER BY copy.created_at)
            FILTER (WHERE copy.last_fault IS NOT NULL AND copy.stored_at IS NULL))[1] AS fault
    FROM shares LEFT JOIN share_copies AS copy
        ON copy.key_id = shares.key_id AND copy.ceremony = shares.ceremony AND {_HERE}
    WHERE {_KEPT}
"""

NOT_STORED = f"""
    SELECT shares.key_id, shares.ceremony, shares.state, shares.generation,
        copy.name, copy.attempts, copy.last_fault, copy.created_at
    FROM shares LEFT JOIN share_copies AS copy
        ON copy.key_id = shares.key_id AND copy.ceremony = shares.ceremony AND {_HERE}
    WHERE {_KEPT} AND copy.stored_at IS NULL
    ORDER BY shares.key_id, shares.ceremony LIMIT :limit
"""

WITHOUT_COPY = f"""
    SELECT shares.key_id, shares.ceremony
    FROM shares LEFT JOIN share_copies AS copy
        ON copy.key_id = shares.key_id AND copy.ceremony = shares.ceremony AND {_HERE}
    WHERE {_KEPT} AND copy.key_id IS NULL
        AND (shares.key_id, shares.ceremony) > (:last_key::uuid, :last_ceremony::uuid)
    ORDER BY shares.key_id, shares.ceremony LIMIT :limit
"""

ELSEWHERE = f"""
    SELECT copy.place, copy.customer_key, count(*) AS copies, count(copy.stored_at) AS stored
    FROM share_copies AS copy WHERE NOT ({_HERE})
    GROUP BY copy.place, copy.customer_key ORDER BY copy.place, copy.customer_key
"""
"""Copies for an earlier bucket, prefix or customer key."""
