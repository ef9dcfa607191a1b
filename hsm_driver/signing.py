"""Jobs of kind Sign."""

from custody.node.errors import Failed
from custody.node.handlers import Handled, Work
from custody.node.wanted import signed_bytes, wanted_signature
from custody.wire.outcomes import MadeSignature
from custody.wire.signatures import BadSignature, finish
from hsm_driver.vault import Vault


class Sign:
    """Signs with a stored key. The digest is computed here, from the application's request."""

    carries_request = True
    asks_gate = True

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def handle(self, work: Work) -> Handled:
        job = work.job
        request, digest = wanted_signature(job)
        key = await self._vault.find_for(job)
        raw = await self._vault.sign(key, signed_bytes(request, digest), work)
        try:
            signature = finish(raw, key.public_key, key.algorithm, job.key.network, request, digest)
        except BadSignature as error:
            raise Failed("bad_signature", f"made, but not released: {error}") from None
        return Handled(
            result=MadeSignature(digest=digest, signature=signature),
            audit={
                "public_key": key.public_key.hex(),
                "request_kind": request.kind,
                "digest": digest.hex() if digest is not None else None,
            },
        )
