"""The last steps of a new key, generated or imported: its copy, its first use, its attestation."""

from custody.node.errors import Denied
from custody.node.handlers import Handled, Work
from custody.node.wanted import WantedKey, made_for
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Store
from custody.wire.outcomes import GeneratedKey
from custody.wire.signed_bytes import ATTESTATION_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Attestation
from hsm_driver.key_copies import KeyCopies
from hsm_driver.possession import prove_possession
from hsm_driver.vault import Vault, refused_without_master_key, row_of


class NewKeys:
    """``copies``: where a copy of the wrapped key must be before the key counts; None for nowhere.

    ``group``: the group of drivers.
    """

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
        self.node = node
        self.group = group
        self.signer = signer

    async def require_new(self, work: Work) -> None:
        """Raise Denied if the job's id is not that of a key which does not exist yet."""
        job = work.job
        if job.id != job.key.id:
            raise Denied("malformed_job", f"a {job.kind} job needs the key's id")
        if await self._vault.find(job.key.id) is not None:
            raise Denied("key_exists", f"this node already has a key {job.key.id}")

    async def keep(self, work: Work, wanted: WantedKey, key: WrappedKey) -> Handled:
        """Copy the wrapped key, use it once, and attest that it is here. Raise Failed."""
        key_id = work.job.key.id
        if self._copies is not None:
            public_key = key.public_key
            with refused_without_master_key():
                key = await self._copies.put(key_id, wanted.network, key)
            is_imported = wanted.imported is not None
            if key.imported != is_imported or (is_imported and key.public_key != public_key):
                raise Denied("key_exists", f"the bucket has a copy of another key {key_id}")
        await prove_possession(self._vault, key_id, key, work)
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
            rows=[row_of(key_id, wanted.network, key)],
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
            group=self.group,
            threshold=1,
            signers=[self.node],
            node=self.node,
            imported=key.imported,
        )
        return self.signer.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode())
