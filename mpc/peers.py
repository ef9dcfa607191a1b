"""The pinned signers: this signer holds ceremonies only with signers that its owner pinned."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime

from custody.database.pool import Pool
from custody.runtime.errors import OperatorError
from custody.wire.nodes import node_urn
from custody.wire.public_keys import check_ed25519

_ALL = "SELECT signer, identity_public_key, added_at FROM peers ORDER BY signer"

_ADD = """
    INSERT INTO peers (signer, identity_public_key) VALUES (:signer, :public_key)
    ON CONFLICT DO NOTHING RETURNING signer
"""

_OF_SIGNER_OR_KEY = """
    SELECT signer, identity_public_key FROM peers
    WHERE signer = :signer OR identity_public_key = :public_key
"""

_REMOVE = "DELETE FROM peers WHERE signer = :signer RETURNING signer"


@dataclass(frozen=True)
class Peer:
    """``identity_public_key``: Ed25519, 32 bytes."""

    signer: str
    identity_public_key: bytes
    added_at: datetime


class Peers:
    """The pins. Only the owner's commands change them; a change counts from the next ceremony."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def identities(self) -> dict[str, bytes]:
        """Return identity public keys by signer."""
        return {peer.signer: peer.identity_public_key for peer in await self.all()}

    async def all(self) -> list[Peer]:
        return [Peer(*row) for row in await self._pool.rows(_ALL)]

    async def require(self, signer: str) -> None:
        """Raise OperatorError if a signer is not pinned, for example because of a typing error."""
        if signer not in await self.identities():
            raise OperatorError(
                f"{signer!r} is not pinned here",
                "See: mpc-signer peers list",
            )

    async def add(self, signer: str, public_key: bytes) -> bool:
        """Pin a signer. Return False if this key is pinned already. Raise OperatorError."""
        values = {"signer": signer, "public_key": public_key}
        if await self._pool.rows(_ADD, values):
            return True
        for known in await self._pool.rows(_OF_SIGNER_OR_KEY, values):
            if known.signer != signer:
                raise OperatorError(
                    f"that identity key is pinned already, as {known.signer}'s",
                    "Two signers never have the same identity: ask each owner for the output of "
                    "mpc-signer identity show.",
                )
            if known.identity_public_key != public_key:
                raise OperatorError(
                    f"{signer} is pinned already, with another identity key",
                    "Ask its owner, face to face or by telephone, which key is right. If "
                    f"this one: mpc-signer peers remove {signer}, then add it again.",
                )
        return False

    async def remove(self, signer: str) -> bool:
        """Remove a pin. Return False if the signer was not pinned."""
        return bool(await self._pool.rows(_REMOVE, {"signer": signer}))


def checked_signer(name: str) -> str:
    """Raise OperatorError for a name that is not a node id."""
    try:
        node_urn(name)
    except ValueError as error:
        raise OperatorError(str(error), "Give the id in the signer's certificate.") from None
    return name


def checked_identity(text: str) -> bytes:
    """Decode an Ed25519 public key from base64. Raise OperatorError if it cannot be pinned."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _no_identity("it is not base64") from None
    try:
        check_ed25519(raw)
    except ValueError as error:
        raise _no_identity(str(error)) from None
    return raw


def _no_identity(why: str) -> OperatorError:
    return OperatorError(
        f"that is not an identity key: {why}",
        "Give the key that mpc-signer identity show prints on that signer's host.",
    )
