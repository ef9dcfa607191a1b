"""Shows that a wrapped key can be unwrapped and signs for its public key."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from custody.node.errors import Failed
from custody.node.handlers import Work
from custody.node.wanted import signed_bytes
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.possession import possession_request
from custody.wire.signatures import BadSignature, finish

if TYPE_CHECKING:
    from hsm_driver.vault import Vault


async def prove_possession(
    vault: Vault, key_id: UUID, key: WrappedKey, work: Work | None = None
) -> None:
    """Sign a fixed message and verify the signature, which stays in the process. Raise Failed.

    ``work``: the job that the key is made for. Raise Denied if that job ends first.
    """
    request, digest = possession_request(key.algorithm, key_id)
    raw = await vault.sign(key, signed_bytes(request, digest), work)
    try:
        finish(raw, key.public_key, key.algorithm, None, request, digest)
    except BadSignature as error:
        raise Failed(
            "key_unusable", f"the wrapped key does not sign for its public key: {error}"
        ) from None
