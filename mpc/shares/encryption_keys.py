"""The encryption keys that a signer's configuration names, compared with those of its database."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.node.errors import Failed
from custody.node.key_proofs import proof_records
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.master_key import HOST_SUFFIX
from custody.pkcs11.messages import KeyProof, KnownKey, MasterKeyRecord
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.stored_proofs import (
    COLUMNS,
    INSERT_PROOFS,
    NEW_PROOFS,
    proof_rows,
    stored_proofs,
)
from custody.pkcs11.token_section import token_settings
from custody.runtime.errors import OperatorError
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import EncryptionKey, HsmKey, load_key_file

_KNOWN = "SELECT id, check_value FROM encryption_keys"

_ADOPT = f"""
    WITH proven AS (
        INSERT INTO key_proofs ({COLUMNS}) {NEW_PROOFS} ON CONFLICT (value) DO NOTHING
    )
    INSERT INTO encryption_keys (id, check_value, first_seen)
    VALUES (:id, :check_value, coalesce(
        (SELECT first_seen FROM former_encryption_keys WHERE id = :id::varchar), now()))
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - of constants
"""One statement: without its proof, a key of the token may never be recognised again.

A key that returns keeps the time of its first use, from which its age counts.
"""


class EncryptionKeys:
    """The available keys. The database also decides which of them encrypts new shares.

    ``candidates``: the file that [encryption] names, or the token's keys, newest first.
    ``others``: what shares may still be under.
    """

    def __init__(
        self,
        candidates: list[EncryptionKey],
        others: list[EncryptionKey],
        hsm: Hsm | None = None,
    ) -> None:
        self._candidates = candidates
        self._hsm = hsm
        self._keys = {key.id: key for key in (*candidates, *others)}
        self._current: EncryptionKey | None = None

    @property
    def current(self) -> EncryptionKey:
        """Return the key for new shares, after ``compare`` or ``adopt_first`` has found it."""
        if self._current is None:
            raise RuntimeError("the encryption keys have not been compared with the database")
        return self._current

    def get(self, key_id: str) -> EncryptionKey:
        """Return a key by its id. Raise Failed if it is not available."""
        if key_id not in self._keys:
            raise Failed(
                "share_unusable",
                f"the share is under encryption key {key_id}, which is not here",
                transient=True,
            )
        return self._keys[key_id]

    def problem(self) -> str | None:
        """Return why keys cannot be used at present."""
        return None if self._hsm is None else self._hsm.problem

    def shortage(self) -> str | None:
        """Return why fewer workers of the HSM run than configured."""
        return None if self._hsm is None else self._hsm.shortage

    async def adopt_first(self, pool: Pool) -> None:
        """Compare; a database that knows none yet learns the first one. Raises OperatorError."""
        await self.compare(pool)
        await adopt(pool, self.current)
        await self.compare(pool)  # another process may have been first, with another

    async def record_proofs(self, pool: Pool, changes: AuditedChanges, operator: str) -> None:
        """Record new proofs of known keys.

        The database is older than the proofs, or this token cannot open those that it has.
        """
        known = await known_keys(pool)
        new = [
            key
            for key in self
            if isinstance(key, HsmKey) and key.id in known and not await _is_proven(pool, key)
        ]
        proofs = {key.name: key.proof for key in new if key.proof is not None}
        values = {key.name: key.check_value for key in new}
        await _record(changes, proofs, values, operator)

    async def compare(self, pool: Pool) -> None:
        """Raise OperatorError unless every key that the database knows is here, and the same.

        And unless one of the candidates is among them: the wrong key gets nothing to protect.
        """
        known = await self.require_known(pool)
        usable = [key for key in self._candidates if key.id in known or not known]
        if not usable:
            raise OperatorError(
                f"{self._candidates[0].name} is encryption key {self._candidates[0].id}, which "
                f"this signer's database does not know: its shares are under {', '.join(known)}",
                "Name the right key in [encryption]. To replace it: mpc-signer rewrap.",
            )
        self._current = usable[0]

    async def require_known(self, pool: Pool) -> Mapping[str, bytes]:
        """Return check values by id of the keys that the database knows.

        Raise OperatorError unless each of these keys is configured, with the same check value.
        """
        known = await known_keys(pool)
        for key_id, check_value in known.items():
            self._compare(key_id, check_value)
        return known

    def add(self, key: EncryptionKey) -> None:
        """Add a key, for the shares that it encrypts."""
        self._keys[key.id] = key

    def _compare(self, key_id: str, check_value: bytes) -> None:
        key = self._keys.get(key_id)
        if key is None:
            raise OperatorError(
                f"shares of this signer are under encryption key {key_id}, which is not here: the "
                f"configuration names {', '.join(f'{each.id} ({each.name})' for each in self)}",
                "Name the right key in [encryption]; or finish a mpc-signer rewrap that was begun.",
            )
        if key.check_value != check_value:
            raise OperatorError(
                f"{key.name} is another key than the one that this signer's shares are under: "
                "its check value differs",
                "Name the right key in [encryption]. Do not delete rows of encryption_keys: the "
                "shares cannot be used with this key.",
            )

    def __iter__(self) -> Iterator[EncryptionKey]:
        return iter(self._keys.values())


async def known_keys(pool: Pool) -> dict[str, bytes]:
    """Return the check values of the keys that the database knows, by id."""
    return {row.id: row.check_value for row in await pool.rows(_KNOWN)}


async def adopt(pool: Pool, key: EncryptionKey) -> None:
    """Have the database know a key and its proof, so that shares can be under it."""
    proofs: dict[str, KeyProof] = {}
    if isinstance(key, HsmKey) and key.proof and not await _is_proven(pool, key):
        proofs[key.name] = key.proof
    rows = proof_rows(proofs, {key.name: key.check_value})
    await pool.rows(_ADOPT, {"id": key.id, "check_value": key.check_value, **rows})


async def record_new_proofs(
    changes: AuditedChanges, keys: Iterable[MasterKeyRecord], operator: str
) -> None:
    """Record proofs of the token's known keys that an operator's command has made."""
    proofs = {key.name: key.new_proof for key in keys if key.new_proof is not None}
    values = {key.name: key.check_value for key in keys if key.check_value is not None}
    await _record(changes, proofs, values, operator)


async def _record(
    changes: AuditedChanges,
    proofs: Mapping[str, KeyProof],
    check_values: Mapping[str, bytes],
    operator: str,
) -> None:
    if proofs:
        by_name = {name: proof.value for name, proof in proofs.items()}
        await changes.commit(
            INSERT_PROOFS,
            proof_rows(proofs, check_values),
            *proof_records(by_name, check_values, operator),
        )


async def _is_proven(pool: Pool, key: HsmKey) -> bool:
    recorded = (await stored_proofs(pool)).get(key.check_value, ())
    return (key.name, key.proof) in recorded


async def known_to_token(pool: Pool) -> list[KnownKey]:
    """Return what shows which keys of a token the database knows.

    Rows of older versions have no proof, and so no name: any key of the token may be theirs.
    """
    proofs = await stored_proofs(pool)
    return [
        KnownKey(name=name, check_value=check_value, proofs=each)
        for check_value in (await known_keys(pool)).values()
        for name, each in _by_name(proofs.get(check_value, ()))
    ]


def _by_name(
    proofs: Iterable[tuple[str, KeyProof]],
) -> list[tuple[str | None, list[KeyProof]]]:
    named: dict[str | None, list[KeyProof]] = {}
    for name, proof in proofs:
        named.setdefault(name, []).append(proof)
    return list(named.items()) or [(None, [])]


@contextlib.asynccontextmanager
async def open_encryption_keys(
    settings: SignerSettings, database: Pool
) -> AsyncIterator[EncryptionKeys]:
    """Open the keys of [encryption]: read files, log in to the token. Raise OperatorError."""
    section = settings.encryption
    others: list[EncryptionKey] = [load_key_file(path) for path in section.other_key_files]
    candidates: list[EncryptionKey] = []
    if section.key_file is not None:
        candidates.append(load_key_file(section.key_file))
    async with contextlib.AsyncExitStack() as stack:
        hsm = None
        if section.hsm is not None:
            hsm = Hsm(hsm_settings(settings))
            stack.push_async_callback(hsm.close)
            # A version that the database does not know is what `rewrap --to-hsm` moves shares to.
            await hsm.start(await known_to_token(database), accept_new=True)
            (candidates if section.key == "hsm" else others).extend(await keys_of(hsm))
        yield EncryptionKeys(candidates, others, hsm)


async def keys_of(hsm: Hsm) -> list[EncryptionKey]:
    """Return the token's encryption keys, newest first. Raise OperatorError if it has none."""
    values, proofs = await hsm.check_values(), await hsm.proofs()
    named = [
        (int(version), HsmKey(hsm, name, check_value, proofs.get(name)))
        for name, check_value in values.items()
        for label, _, version in [name.rpartition("/")]
        if label.endswith(HOST_SUFFIX)
    ]
    if not named:
        raise OperatorError(
            "the token has no key that encrypts", "Make one with: mpc-signer master-key generate"
        )
    return [key for _, key in sorted(named, key=lambda each: each[0], reverse=True)]


def hsm_settings(settings: SignerSettings) -> HsmSettings:
    """Return the settings of [encryption.hsm]. Raise OperatorError if there is no such section."""
    section = settings.encryption.hsm
    if section is None:
        raise OperatorError(
            "the configuration has no section [encryption.hsm]",
            "Add it: mpc-signer init writes it, explained, into a new configuration.",
        )
    found = token_settings(section, settings.node.state_directory)
    return replace(found, master_key_label=section.key_label, only_encrypting=True)
