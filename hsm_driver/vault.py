"""Wrapped keys in the database, and their use in the HSM."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.node.adoptions import adoptions
from custody.node.audited_changes import AuditedChanges
from custody.node.database_away import database_needed
from custody.node.errors import Failed, Refused
from custody.node.handlers import RowChange, Work
from custody.node.key_proofs import proof_records
from custody.node.metrics import HSM_SECONDS
from custody.node.stored_key import StoredKey, require_same_key
from custody.pkcs11.errors import MasterKeyMissing
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.messages import KeyProof
from custody.pkcs11.restoring import short
from custody.pkcs11.stored_proofs import (
    COLUMNS,
    INSERT_PROOFS,
    NEW_PROOFS,
    proof_rows,
    stored_proofs,
)
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.batching import Batcher
from custody.runtime.errors import OperatorError
from custody.runtime.tracing import span
from custody.wire.algorithms import Algorithm, Curve, Network, Protection, Scheme
from custody.wire.jobs import Job
from hsm_driver.possession import prove_possession

SELECT_KEYS = """
    SELECT key_id, scheme, curve, network, public_key, protection, wrapped, master_key, mechanism,
        imported
    FROM wrapped_keys WHERE key_id = ANY(:key_ids::uuid[])
"""

INSERT_KEYS = """
    WITH known AS (
        SELECT id, retired_at FROM master_keys WHERE id = ANY(:master_key::varchar[])
        ORDER BY id FOR SHARE
    )
    INSERT INTO wrapped_keys (key_id, scheme, curve, network, public_key, protection, wrapped,
        master_key, mechanism, imported)
    SELECT key_id, scheme, curve, network, public_key, protection, wrapped,
        CASE WHEN NOT EXISTS (
            SELECT FROM known WHERE known.id = new.master_key AND retired_at IS NOT NULL
        ) THEN master_key END, mechanism, imported
    FROM unnest(:key_id::uuid[], :scheme::varchar[], :curve::varchar[],
        :network::varchar[], :public_key::bytea[], :protection::varchar[],
        :wrapped::bytea[], :master_key::varchar[], :mechanism::varchar[],
        :imported::boolean[])
        AS new (key_id, scheme, curve, network, public_key, protection, wrapped, master_key,
            mechanism, imported)
"""
"""Raises NotNullViolationError, an integrity error, for a key under a retired master key.

A driver that has not been restarted since then would wrap new keys by it, and the operator deletes
it from the HSM. The lock makes the retirement wait for transactions that insert keys.
"""

_MASTER_KEYS = "SELECT id, check_value FROM master_keys WHERE (retired_at IS NULL) <> :retired"

_NAMES = "SELECT id FROM master_keys UNION SELECT master_key FROM wrapped_keys"

_ONE_UNDER = SELECT_KEYS.replace(
    "key_id = ANY(:key_ids::uuid[])", "master_key = :name ORDER BY key_id LIMIT 1"
)

KEYS_OF_KIND = SELECT_KEYS.replace(
    "key_id = ANY(:key_ids::uuid[])",
    """master_key = :master_key AND scheme = :scheme AND curve = :curve
        AND protection = :protection AND key_id > :last::uuid ORDER BY key_id LIMIT :limit""",
)
"""The next keys of one algorithm under one master key, as ``wrapped_key`` takes them."""

ADOPTED = "AdoptMasterKey"
"""The kind of the audit record of a new master key, and of a retired one that is found."""

RETIRED = "RetireMasterKey"
"""The kind of the audit record of a master key that is lost for good."""

_ADOPT = f"""
    WITH adopted AS (
        INSERT INTO master_keys (id, check_value)
        SELECT * FROM unnest(:ids::varchar[], :adopted::bytea[])
        ON CONFLICT (id) DO UPDATE SET retired_at = NULL
            WHERE master_keys.retired_at IS NOT NULL
                AND master_keys.check_value = excluded.check_value
        RETURNING id
    ), proven AS (
        INSERT INTO key_proofs ({COLUMNS}) {NEW_PROOFS}
        WHERE key_name IN (SELECT id FROM adopted) ON CONFLICT (value) DO NOTHING
    )
    SELECT id FROM adopted
"""  # noqa: S608 - of constants
"""One statement: without its proof, an adopted key may never be recognised again."""


@contextmanager
def refused_without_master_key() -> Iterator[None]:
    """Refuse a job whose master key this driver has not found: another driver may have the key.

    A new master key is adopted once for the group, and the drivers are then restarted one by one.
    """
    try:
        yield
    except MasterKeyMissing as missing:
        raise Refused(missing.code, missing.reason) from None


class Vault:
    """Generates and uses keys. Raises Failed, with the code that the API shows."""

    def __init__(self, pool: Pool, hsm: Hsm) -> None:
        self._pool = pool
        self._hsm = hsm
        self._rows = Batcher[UUID, Any](self._select)

    async def generate(self, algorithm: Algorithm) -> WrappedKey:
        with HSM_SECONDS.labels("generate").time(), span("hsm generate"):
            return await self._hsm.generate(algorithm)

    async def sign(self, key: WrappedKey, data: bytes, work: Work | None = None) -> bytes:
        """Return a raw signature, not verified. ``data``: 32-byte digest, or Ed25519's message.

        ``work`` is the job of the signature. Raise Denied if the job ends before the HSM begins,
        and Refused if this driver has not found the key's master key.
        """
        with HSM_SECONDS.labels("sign").time(), span("hsm sign"):
            if work is None:
                return await self._hsm.sign(key, data)
            with refused_without_master_key():
                return await self._hsm.sign(
                    key,
                    data,
                    not_after=work.not_after.timestamp(),
                    require_wanted=work.require_wanted,
                )

    async def find(self, key_id: UUID) -> tuple[WrappedKey, Network | None] | None:
        """Return the stored key and its wallet's network."""
        with database_needed():
            row = await self._rows.submit(key_id)
        return None if row is None else (wrapped_key(row), network_of(row))

    async def find_for(self, job: Job) -> WrappedKey:
        """Return the stored key of a job. Raise Failed unless the row has the job's public key."""
        key_id = job.key.root or job.key.id
        found = await self.find(key_id)
        if found is None:
            raise Failed("unknown_key", f"this node has no key {key_id}")
        key, network = found
        require_same_key(StoredKey(key_id, key.algorithm, network, key.public_key), job)
        return key

    async def require_key(self, job: Job) -> None:
        """Raise Failed as ``find_for`` does."""
        await self.find_for(job)

    async def compare_master_keys(self) -> None:
        """Raise OperatorError unless the token's master keys are those of this database.

        A database that knows no master key learns the token's keys. Later, a new master key is
        refused until the operator adopts it. Somebody else may have put it on the token and may
        know its value. He could then decrypt every key that it wraps.
        """
        known, strangers = await self._compared()
        if known and strangers:
            raise OperatorError(
                "the token has a master key that this database does not know: "
                + ", ".join(sorted(strangers)),
                "If you made it, or restored it: hsm-driver master-key adopt. If you did not, "
                "somebody who has the PIN did: find out who, and delete it with the vendor's tool.",
            )

    async def adopt_first_master_keys(self, changes: AuditedChanges, operator: str) -> None:
        """Compare the master keys; an empty database learns them. Raise OperatorError."""
        await self.compare_master_keys()
        await self.adopt_master_keys(changes, operator)
        await self._record_proofs(changes, operator)

    async def new_master_keys(self) -> dict[str, bytes]:
        """Return the check values of the token's keys that the database could learn, by name.

        Raise OperatorError as ``compare_master_keys`` does for a missing or another key.
        """
        return (await self._compared())[1]

    async def adopt_master_keys(
        self, changes: AuditedChanges, operator: str, names: Collection[str] | None = None
    ) -> list[str]:
        """Record the token's new master keys, and retired ones that the token has again.

        ``names``: only these. Return their names. After that the newest master key wraps new keys.
        Raise OperatorError, also for a key under the name of another master key, which wraps keys
        of this database or has wrapped some: the HSM could not have both.
        """
        new = {
            name: value
            for name, value in (await self.new_master_keys()).items()
            if names is None or name in names
        }
        if new:
            await self._require_unused_names(new)
            unrecorded = await self._hsm.new_proofs()
            proofs = {name: unrecorded[name] for name in new if name in unrecorded}
            await changes.commit(
                _ADOPT,
                {"ids": list(new), "adopted": list(new.values()), **proof_rows(proofs, new)},
                *adoptions(ADOPTED, new, operator=operator),
                *proof_records(_values(proofs), new, operator),
            )
            await self._compared()  # another driver may have recorded others first
        return sorted(new)

    async def _record_proofs(self, changes: AuditedChanges, operator: str) -> None:
        """Record new proofs of known keys.

        The database is older than the proofs, or this token cannot open those that it has.
        """
        known = await known_master_keys(self._pool)
        recorded = await stored_proofs(self._pool)
        proofs = {
            name: proof
            for name, proof in (await self._hsm.new_proofs()).items()
            if name in known and (name, proof) not in recorded.get(known[name], ())
        }
        await record_proofs(changes, proofs, known, operator)

    async def _require_unused_names(self, new: Mapping[str, bytes]) -> None:
        """Raise OperatorError if a name belongs to another key than the token's.

        A retired key's check value proves which key it was. Where the database has none, a stored
        key must be usable with the token's key.
        """
        retired = await retired_master_keys(self._pool)
        for name, check_value in new.items():
            if name in retired:
                if retired[name] == check_value:
                    continue
                why = (
                    f"the retired master key had the check value {short(retired[name])}, this one "
                    f"has {short(check_value)}"
                )
            else:
                row = await self._pool.row(_ONE_UNDER, {"name": name})
                if row is None:
                    continue
                try:
                    await prove_possession(self, row.key_id, wrapped_key(row))
                    continue
                except Failed as error:
                    why = f"with this one, the stored key {row.key_id} fails: {error.reason}"
            raise OperatorError(
                f"the token's new key {name!r} has the name of another master key: {why}",
                "If you restored it, keep it, and correct that fault. If you generated it, no "
                "stored key is under it yet: delete it with the vendor's tool, so that the other "
                "key can be restored. "
                f"Then: {await generate_above(self._pool)}",
            )

    async def _compared(self) -> tuple[bool, dict[str, bytes]]:
        """Return whether the database knows any master key, and the token's unknown check values.

        Raise OperatorError if the token lacks a known key, or has another key under its name.
        """
        present = await self._hsm.check_values()
        strangers = {stranger.name for stranger in await self._hsm.strangers()}
        known = await known_master_keys(self._pool)
        for name, check_value in known.items():
            if name in strangers and name not in present:
                raise _another_key(name, "it does not open what that key has wrapped")
            compare_check_values(name, check_value, present.get(name))
        is_new = not known and not await retired_master_keys(self._pool)
        return not is_new, {name: value for name, value in present.items() if name not in known}

    async def _select(self, key_ids: list[UUID]) -> list[Any]:
        rows = await self._pool.rows(SELECT_KEYS, {"key_ids": key_ids})
        found = {row.key_id: row for row in rows}
        return [found.get(key_id) for key_id in key_ids]


async def known_master_keys(pool: Pool) -> dict[str, bytes]:
    """Return the check values of the group's master keys, by name, without the retired ones."""
    return await _master_keys(pool, retired=False)


async def retired_master_keys(pool: Pool) -> dict[str, bytes]:
    """Return the check values of the retired master keys, by name: no token should have them."""
    return await _master_keys(pool, retired=True)


async def _master_keys(pool: Pool, *, retired: bool) -> dict[str, bytes]:
    rows = await pool.rows(_MASTER_KEYS, {"retired": retired})
    return {row.id: row.check_value for row in rows}


async def generate_above(pool: Pool) -> str:
    """Return the command that makes a master key with a number that none of the group had."""
    numbers = [row.id.rpartition("/")[2] for row in await pool.rows(_NAMES)]
    highest = max((int(number) for number in numbers if number.isdecimal()), default=0)
    return f"hsm-driver master-key generate --above {highest}"


def network_of(row: Any) -> Network | None:
    """Return the network in a row of wrapped_keys. Raise ValueError."""
    return None if row.network is None else Network(row.network)


def wrapped_key(row: Any) -> WrappedKey:
    """Return the key in a row of wrapped_keys. Raise Failed for a damaged row."""
    try:
        algorithm = Algorithm(Scheme(row.scheme), Curve(row.curve))
        Protection(row.protection)
        network_of(row)
    except ValueError as error:
        raise Failed("key_mismatch", f"the stored row of the key is damaged: {error}") from None
    return WrappedKey(
        algorithm=algorithm,
        public_key=row.public_key,
        protection=Protection(row.protection),
        wrapped=row.wrapped,
        master_key=row.master_key,
        mechanism=row.mechanism,
        imported=row.imported,
    )


def row_of(key_id: UUID, network: Network | None, key: WrappedKey) -> RowChange:
    """Return the row of wrapped_keys for a new key."""
    values = {
        "key_id": key_id,
        "scheme": key.algorithm.scheme.value,
        "curve": key.algorithm.curve.value,
        "network": network.value if network else None,
        "public_key": key.public_key,
        "protection": key.protection.value,
        "wrapped": key.wrapped,
        "master_key": key.master_key,
        "mechanism": key.mechanism,
        "imported": key.imported,
    }
    return RowChange(INSERT_KEYS, values)


def compare_check_values(name: str, known: bytes, found: bytes | None) -> None:
    """Raise OperatorError unless the token's key is the one that the database knows."""
    if found is None:
        raise OperatorError(
            f"the token has no master key {name!r}, which wraps keys of this database",
            "Point [hsm] at the right token, or restore that master key into this one. If it is "
            "lost for good: docs/how-to/recover/master-key-lost.md.",
        )
    if found != known:
        raise _another_key(name, f"its check value is {short(found)}, not {short(known)}")


def _another_key(name: str, why: str) -> OperatorError:
    return OperatorError(
        f"the token's master key {name!r} is another key than the one that wrapped this "
        f"database's keys: {why}",
        "Point [hsm] at the right token, or restore the right backup of the HSM. Do not delete "
        "the master_keys row: the wrapped keys cannot be used with this master key.",
    )


async def record_proofs(
    changes: AuditedChanges,
    proofs: Mapping[str, KeyProof],
    check_values: Mapping[str, bytes],
    operator: str,
) -> None:
    """Record new proofs of keys that the database knows. Both mappings are by the key's name."""
    if proofs:
        await changes.commit(
            INSERT_PROOFS,
            proof_rows(proofs, check_values),
            *proof_records(_values(proofs), check_values, operator),
        )


def _values(proofs: Mapping[str, KeyProof]) -> dict[str, bytes]:
    return {name: proof.value for name, proof in proofs.items()}
