"""The encryption keys that a signer's configuration names, compared with those of its database."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.master_key import HOST_SUFFIX
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_section import token_settings
from custody.runtime.errors import OperatorError
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import EncryptionKey, HsmKey, load_key_file

_KNOWN = "SELECT id, check_value FROM encryption_keys"

_ADOPT = """
    INSERT INTO encryption_keys (id, check_value) VALUES (:id, :check_value)
    ON CONFLICT DO NOTHING
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

    async def adopt_first(self, pool: Pool) -> None:
        """Compare; a database that knows none yet learns the first one. Raises OperatorError."""
        await self.compare(pool)
        await adopt(pool, self.current)
        await self.compare(pool)  # another process may have been first, with another

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
    """Have the database know a key, so that shares can be under it."""
    await pool.rows(_ADOPT, {"id": key.id, "check_value": key.check_value})


@contextlib.asynccontextmanager
async def open_encryption_keys(settings: SignerSettings) -> AsyncIterator[EncryptionKeys]:
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
            await hsm.start()
            (candidates if section.key == "hsm" else others).extend(await keys_of(hsm))
        yield EncryptionKeys(candidates, others, hsm)


async def keys_of(hsm: Hsm) -> list[EncryptionKey]:
    """Return the token's encryption keys, newest first. Raise OperatorError if it has none."""
    values = await hsm.check_values()
    named = [
        (int(version), HsmKey(hsm, name, check_value))
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
