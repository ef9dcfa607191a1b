"""Jobs of kind GenerateKey."""

from custody.node.errors import Denied
from custody.node.handlers import Handled, Work
from custody.node.wanted import made_for, wanted_key
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Store
from custody.wire.outcomes import GeneratedKey
from custody.wire.signed_bytes import ATTESTATION_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Attestation
from hsm_driver.key_copies import KeyCopies
from hsm_driver.possession import prove_possession
from hsm_driver.vault import Vault, refused_without_master_key, row_of


class GenerateKey:
    """Makes a key in the HSM, uses its wrapped form once, and attests that the key is here.

    ``copies``: where a copy of the wrapped key must be before the key counts; None for nowhere.
    """

    carries_request = True
    asks_gate = False

    def __init__(
        self,
        vault: Vault,
        node: str,
        group: str,
        signer: SigningKey,
        copies: KeyCopies | None = None,
    ) -> None:
        self._vault = vault
        self._copies = copies
        self._node = node
        self._group = group
        self._signer = signer

    async def handle(self, work: Work) -> Handled:
        job = work.job
        if job.id != job.key.id:
            raise Denied("malformed_job", "a GenerateKey job needs the key's id")
        wanted = wanted_key(job)
        if await self._vault.find(job.key.id) is not None:
            raise Denied("key_exists", f"this node already has a key {job.key.id}")
        key = await self._vault.generate(wanted.algorithm)
        if self._copies is not None:
            with refused_without_master_key():
                key = await self._copies.put(job.key.id, wanted.network, key)
        await prove_possession(self._vault, job.key.id, key, work)
        return Handled(
            result=GeneratedKey(
                scheme=wanted.algorithm.scheme,
                curve=wanted.algorithm.curve,
                public_key=key.public_key,
                protection=key.protection,
                attestation=self._attest(work, key),
            ),
            audit={
                "public_key": key.public_key.hex(),
                "scheme": wanted.algorithm.scheme.value,
                "curve": wanted.algorithm.curve.value,
                "network": wanted.network.value if wanted.network else None,
                "protection": key.protection.value,
                "master_key": key.master_key,
            },
            rows=[row_of(job.key.id, wanted.network, key)],
        )

    def _attest(self, work: Work, key: WrappedKey) -> SignedBytes:
        """Attest the key: an application that has pinned this node detects a replaced address."""
        attestation = Attestation(
            key_id=work.job.key.id,
            made_for=made_for(work),
            store=Store.HSM,
            scheme=key.algorithm.scheme,
            curve=key.algorithm.curve,
            network=work.job.key.network,
            public_key=key.public_key,
            protection=key.protection,
            group=self._group,
            threshold=1,
            signers=[self._node],
            node=self._node,
        )
        return self._signer.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode())
