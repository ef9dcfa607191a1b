"""The facts that every sub-share of a dealing is bound to: for those who deal, and the signers.

An application deals the key that it imports. Signers deal the key that they copy for another group.
Each sub-share is sealed to one signer by HPKE (hybrid_keys.py). Its ``info`` names every fact, so
that a sub-share does not open in another import or copy, for another signer or beside other
commitments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from custody.wire.algorithms import Algorithm
from custody.wire.framing import Domain, join, tagged_hash
from custody.wire.jobs import KeyHolders


@dataclass(frozen=True)
class DealingFacts:
    """The facts of a dealing that every signer must see alike. All are public.

    ``import_id``: the id of the import, or of the copy. ``holders``: the group that will hold the
    key; the index of its first signer is 1. ``public_key``: in the encoding
    of the algorithm; Taproot's output key. ``commitments``: one for each coefficient of Feldman's
    polynomial, 33 bytes SEC1 or 32 bytes RFC 8032. ``chain_code``: 32 bytes, or None for
    algorithms whose keys have no children.
    """

    import_id: UUID
    holders: KeyHolders
    algorithm: Algorithm
    public_key: bytes
    commitments: Sequence[bytes]
    chain_code: bytes | None = None

    def sealed_for(self, signer: str) -> bytes:
        """Return the ``info`` (RFC 9180) of this signer's sub-share: 32 bytes, a tagged hash.

        Raise ValueError for a signer that is not one of ``holders``.
        """
        index = self.holders.signers.index(signer) + 1
        return tagged_hash(
            Domain.IMPORT_SEAL,
            self.import_id.bytes,
            signer.encode(),
            bytes([index, self.holders.threshold]),
            self.holders.group.encode(),
            join(*(each.encode() for each in self.holders.signers)),
            str(self.algorithm).encode(),
            self.public_key,
            join(*self.commitments),
            self.chain_code or b"",
        )
