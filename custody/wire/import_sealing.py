"""What binds an imported private key to one import: for the client that seals and the nodes.

A Feldman sub-share is sealed to one signer by HPKE (hybrid_keys.py). Its ``info`` names every fact
of the import, so that a sub-share does not open in another import, for another signer or beside
other commitments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from custody.wire.algorithms import Algorithm
from custody.wire.framing import Domain, join, tagged_hash


@dataclass(frozen=True)
class SplitImport:
    """The facts of an import in MPC mode that every signer must see alike. All are public.

    ``signers``: all n in order of their index, which begins at 1. ``public_key``: in the encoding
    of the algorithm; Taproot's output key. ``commitments``: one for each coefficient of Feldman's
    polynomial, 33 bytes SEC1 or 32 bytes RFC 8032. ``chain_code``: 32 bytes, or None for
    algorithms whose keys have no children.
    """

    import_id: UUID
    group: str
    threshold: int
    signers: Sequence[str]
    algorithm: Algorithm
    public_key: bytes
    commitments: Sequence[bytes]
    chain_code: bytes | None = None

    def sealed_for(self, signer: str) -> bytes:
        """Return the ``info`` (RFC 9180) of this signer's sub-share: 32 bytes, a tagged hash.

        Raise ValueError for a signer that is not one of ``signers``.
        """
        index = self.signers.index(signer) + 1
        return tagged_hash(
            Domain.IMPORT_SEAL,
            self.import_id.bytes,
            signer.encode(),
            bytes([index, self.threshold]),
            self.group.encode(),
            join(*(each.encode() for each in self.signers)),
            str(self.algorithm).encode(),
            self.public_key,
            join(*self.commitments),
            self.chain_code or b"",
        )
