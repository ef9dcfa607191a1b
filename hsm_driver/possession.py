"""Shows that a wrapped key can be unwrapped and signs for its public key."""

import hashlib
from uuid import UUID

from hsm_driver.hsm.wrapped_key import WrappedKey
from hsm_driver.vault import Vault
from node.decisions import Failed
from wire.algorithms import Scheme
from wire.digests import digest_of
from wire.requests import SignHash, SignMessage
from wire.signatures import BadSignature, finish

_DOMAIN = b"custody-key-check-v1\x00"


async def prove_possession(vault: Vault, key_id: UUID, key: WrappedKey) -> None:
    """Sign a message of our own and verify it; nothing of it leaves. Raises Failed.

    The message is the SHA-256 of a fixed domain and the key's id: no transaction, no request.
    """
    challenge = hashlib.sha256(_DOMAIN + key_id.bytes).digest()
    request: SignHash | SignMessage
    if key.algorithm.scheme is Scheme.EDDSA:
        request = SignMessage(kind="Message", message="0x" + challenge.hex())
    else:
        request = SignHash(kind="Hash", hash=challenge)
    raw = await vault.sign(key, challenge)
    try:
        finish(
            raw,
            key.public_key,
            key.algorithm,
            None,
            request,
            digest_of(request, key.algorithm, None),
        )
    except BadSignature as error:
        raise Failed(
            "key_unusable", f"the wrapped key does not sign for its public key: {error}"
        ) from None
