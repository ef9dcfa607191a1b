"""Import of an application's private key: one-time import keys, and what is sealed to them.

A node makes an import key for one import and states its public half (IMPORT_KEY_TYPE). The
application encrypts the private key to it, so that the control plane sees ciphertext only.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    Algorithm,
    Curve,
    Protection,
    Scheme,
    Store,
    known_algorithm,
)
from custody.wire.encoding import HexBytes, Model
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.jobs import KeyHolders
from custody.wire.nodes import NodeId
from custody.wire.public_keys import IdentityKey, check_public_key

MAX_IMPORT_KEY = 2_048
"""Bytes of an import key's public half; the largest is that of RSA with 8192 bits, 1062 bytes."""
HPKE_PUBLIC_KEY_SIZE = 1_216
"""Bytes: ML-KEM-768 (FIPS 203, table 3), then X25519 (RFC 7748)."""
MAX_SEALED = 4_096
"""Bytes of what is sealed to one import key."""
CHAIN_CODE_SIZE = 32
IMPORT_KEY_LIFETIME = timedelta(hours=1)
"""Time from the making of an import key until its node erases it."""


class Wrapping(StrEnum):
    """How a private key, or a sub-share of it, is encrypted to an import key.

    RSA_OAEP_AES_KWP_*: the format of CKM_RSA_AES_KEY_WRAP (PKCS#11 3.1, section 6.1.21): an AES-256
    key under RSAES-OAEP (RFC 8017, section 7.1) with this hash, also in MGF1, and no label, then
    the PKCS#8 of the private key under AES-KWP (NIST SP 800-38F, section 6.3).
    HPKE: RFC 9180, base mode, with ML-KEM-768 and X25519, HKDF-SHA256 and AES-256-GCM.
    """

    RSA_OAEP_AES_KWP_SHA1 = "rsa-oaep-aes-kwp-sha1"
    RSA_OAEP_AES_KWP_SHA256 = "rsa-oaep-aes-kwp-sha256"
    HPKE = "hpke-mlkem768-x25519"


class ImportKeyStatement(Model):
    """A node has made an import key for one import (IMPORT_KEY_TYPE)."""

    version: Literal[1] = 1
    import_id: UUID
    application: IdentityKey | None
    """The public key of the application that signed the request for the import. Null if the node
    has not verified a signature. The node imports a key for this application only."""
    scheme: Scheme
    curve: Curve
    protection: Protection
    """The place where the private key is decrypted, and that the key has after the import."""
    wrapping: Wrapping
    import_key: Annotated[HexBytes, Field(max_length=MAX_IMPORT_KEY)]
    """The public half. RSA: a SubjectPublicKeyInfo (RFC 5280, section 4.1) in DER. HPKE: the bytes
    of ML-KEM-768's public key, then those of X25519's."""
    expires_at: AwareDatetime
    """The node erases the import key at this time."""
    group: str
    """The group of drivers, or the signer group."""
    threshold: Annotated[int, Field(ge=1, le=MAX_SIGNERS)]
    signers: Annotated[list[NodeId], Field(min_length=1, max_length=MAX_SIGNERS)]
    """The nodes that will hold the key, in order of their index; in HSM mode ``node`` alone."""
    node: NodeId

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        known_algorithm(self.scheme, self.curve)
        is_mpc = self.protection is Protection.MPC
        if is_mpc != (self.wrapping is Wrapping.HPKE):
            raise ValueError("signers wrap with HPKE, and drivers with RSA")
        if is_mpc and len(self.import_key) != HPKE_PUBLIC_KEY_SIZE:
            raise ValueError(f"import_key: must be {HPKE_PUBLIC_KEY_SIZE} bytes")
        if len(set(self.signers)) != len(self.signers) or self.node not in self.signers:
            raise ValueError("signers: each once, and the node among them")
        if is_mpc and not MIN_THRESHOLD <= self.threshold <= len(self.signers):
            raise ValueError("threshold: not a threshold of these signers")
        if not is_mpc and (self.threshold, self.signers) != (1, [self.node]):
            raise ValueError("a driver holds a key alone")
        return self

    @classmethod
    def of_signer(
        cls,
        node: str,
        holders: KeyHolders,
        algorithm: Algorithm,
        *,
        import_id: UUID,
        application: bytes | None,
        import_key: bytes,
        expires_at: datetime,
    ) -> Self:
        """Return the statement of a signer of the group ``holders``. Raise ValidationError."""
        return cls(
            import_id=import_id,
            application=application,
            scheme=algorithm.scheme,
            curve=algorithm.curve,
            protection=Protection.MPC,
            wrapping=Wrapping.HPKE,
            import_key=import_key,
            expires_at=expires_at,
            group=holders.group,
            threshold=holders.threshold,
            signers=list(holders.signers),
            node=node,
        )

    @property
    def agreed(self) -> dict[str, object]:
        """What must be the same in each signer's."""
        return self.model_dump(exclude={"node", "import_key", "expires_at"})


SealedBytes = Annotated[HexBytes, Field(min_length=1, max_length=MAX_SEALED)]


class ImportedKey(Model):
    """The part of a request for a key that imports the key; bound to one import.

    HSM mode has ``wrapped``. MPC mode has a dealing (Feldman 1987) of degree t - 1:
    ``commitments`` to the polynomial's coefficients, and its values sealed to the signers.
    """

    import_id: UUID
    """The import whose import keys were used. Each is used once."""
    public_key: HexBytes
    """The public key of the imported key, in the form of its algorithm."""
    wrapped: SealedBytes | None = None
    """Store hsm: the private key, wrapped as the import key's statement says."""
    commitments: (
        Annotated[tuple[HexBytes, ...], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]
        | None
    ) = None
    """Store mpc: one point for each coefficient, from the constant term on. Compressed SEC1 on
    secp256k1, 32 bytes (RFC 8032, section 5.1.2) on Ed25519."""
    chain_code: HexBytes | None = None
    """Store mpc, ECDSA on secp256k1: chain code of BIP-32, 32 bytes."""
    sealed: (
        Annotated[
            dict[NodeId, SealedBytes], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)
        ]
        | None
    ) = None
    """Store mpc: for each signer the polynomial's value at the signer's index."""

    def check(self, store: Store, algorithm: Algorithm) -> None:
        """Raise ValueError unless this can become a key of the algorithm in this store."""
        check_public_key(algorithm, self.public_key)
        if store is Store.HSM:
            self._check_hsm()
        else:
            self._check_mpc(algorithm)

    def _check_hsm(self) -> None:
        if self.wrapped is None:
            raise ValueError("imported: store hsm needs wrapped")
        if (self.commitments, self.chain_code, self.sealed) != (None, None, None):
            raise ValueError("imported: commitments, chain_code and sealed are for store mpc")

    def _check_mpc(self, algorithm: Algorithm) -> None:
        if self.commitments is None or self.sealed is None or self.wrapped is not None:
            raise ValueError("imported: store mpc needs commitments and sealed, and no wrapped")
        if len(self.sealed) < len(self.commitments):
            raise ValueError("imported: fewer signers than the threshold")
        has_chain_code = algorithm == ECDSA_SECP256K1
        if (self.chain_code is not None) != has_chain_code:
            raise ValueError(
                f"imported: a key of {algorithm} {'needs a' if has_chain_code else 'has no'} "
                "chain_code"
            )
        if self.chain_code is not None and len(self.chain_code) != CHAIN_CODE_SIZE:
            raise ValueError(f"imported: chain_code must be {CHAIN_CODE_SIZE} bytes")
        for point in self.commitments:
            check_public_key(commitment_algorithm(algorithm), point)
        # a key of Schnorr has no sign of y (BIP-340); the other keys are their point
        if self.commitments[0][-len(self.public_key) :] != self.public_key:
            raise ValueError("imported: the first commitment is not the public key")


def commitment_algorithm(algorithm: Algorithm) -> Algorithm:
    """Return the algorithm whose public keys have the form of a commitment."""
    return EDDSA_ED25519 if algorithm == EDDSA_ED25519 else ECDSA_SECP256K1
