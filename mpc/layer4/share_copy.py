"""The document inside a share copy. docs/reference/layer4.md describes it with test vectors.

The document is for a reader who has nothing but t such files and a tool for age: it names every
fact of the key, and has the share twice, as an integer to interpolate with and in the protocol's
own encoding.
"""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from custody.wire.algorithms import Algorithm, Curve, Network, Scheme
from custody.wire.encoding import Base64Bytes, HexBytes, Model
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.nodes import NodeId
from custody.wire.points import GROUP_ORDER
from custody.wire.public_keys import IdentityKey, check_public_key
from custody.wire.requests import GroupName
from custody.wire.signed_bytes import (
    SHARE_COPY_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)
from custody.wire.statements import MadeFor
from custody.wire.tickets import ALGORITHM, Protocol
from mpc._native import Share
from mpc.shares.stored_share import StoredShare

INTEGER_SIZE = 32
MAX_GENERATION = 2**31 - 1
"""Of the database's column."""
MAX_POINT = 33
"""In bytes: a compressed point (SEC 1), and more than a SHA-256."""
MAX_WHERE = 100
"""Longest name of a faulty field in an error, in characters."""
MAX_SHARE = 2 * 1024 * 1024
"""In bytes. A share of the largest group, 16 signers, has less than one MiB."""


class BadShareCopy(ValueError):
    """The bytes are not a share copy that the signer it names has signed."""


class ShareCopy(Model):
    """A signer's share of one set. ``index`` is x and ``secret_share`` is y of one point.

    The private key is the value at 0 of the polynomial through ``threshold`` points of the same
    ``ceremony``, modulo the order of the curve's group. The private key of a Schnorr key may be
    the negative of that value (BIP-340, section "Default Signing").
    """

    version: Literal[1] = 1
    key_id: UUID
    """The root key's."""
    scheme: Scheme
    curve: Curve
    network: Network | None
    public_key: HexBytes
    """33 bytes SEC1 compressed (ECDSA), 32 raw (Ed25519), 32 x-only (BIP-340 output key)."""
    chain_code: Annotated[HexBytes, Field(min_length=32, max_length=32)] | None
    """Chain code of BIP-32; null if the protocol has none."""
    taproot_tweaked: bool
    """True if the public key is tweaked already (BIP-341): it must not be tweaked again."""
    group: GroupName
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD)]
    signers: Annotated[list[NodeId], Field(max_length=MAX_SIGNERS)]
    """All n, in order of their index."""
    signer: NodeId
    index: int
    """From 1 to n."""
    generation: Annotated[int, Field(ge=0, le=MAX_GENERATION)]
    ceremony: UUID
    """The ceremony that made the set of shares. Shares of different sets do not fit together."""
    transcript: Annotated[HexBytes, Field(max_length=MAX_POINT)]
    """SHA-256 of the data that all signers of the set have seen alike."""
    secret_share: Annotated[
        HexBytes, Field(min_length=INTEGER_SIZE, max_length=INTEGER_SIZE, repr=False)
    ]
    """An integer below the group's order, most significant byte first on all curves."""
    verifying_shares: Annotated[
        dict[int, Annotated[HexBytes, Field(max_length=MAX_POINT)]], Field(max_length=MAX_SIGNERS)
    ]
    """Each signer's secret share times the base point, by index, in the form of ``public_key``
    (33 bytes for BIP-340 as well)."""
    protocol: Protocol
    share: Annotated[Base64Bytes, Field(max_length=MAX_SHARE, repr=False)]
    """The share in the protocol's own encoding, with which a signer can be restored."""
    made_for: MadeFor | None
    """The key's first request; null if the signer does not know it."""
    identity_public_key: IdentityKey
    """The signer's Ed25519 key, which has signed the document."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if ALGORITHM[self.protocol] != Algorithm(self.scheme, self.curve):
            raise ValueError(f"keys of {self.protocol} are not {self.scheme}/{self.curve}")
        check_public_key(ALGORITHM[self.protocol], self.public_key)
        if not 1 <= self.index <= len(self.signers) or self.signers[self.index - 1] != self.signer:
            raise ValueError("the signer does not have this index")
        if self.threshold > len(self.signers):
            raise ValueError("the threshold is above the number of signers")
        if len(set(self.signers)) != len(self.signers):
            raise ValueError("a signer is named twice")
        if int.from_bytes(self.secret_share) >= GROUP_ORDER[self.curve]:
            raise ValueError("the secret share is not below the order of the group")
        return self


def make_share_copy(stored: StoredShare, share: Share, signer: SigningKey) -> bytes:
    """Return the signed document of a share, which is SECRET: encrypt it at once."""
    algorithm = ALGORITHM[stored.protocol]
    copy = ShareCopy(
        key_id=stored.key_id,
        scheme=algorithm.scheme,
        curve=algorithm.curve,
        network=stored.network,
        public_key=stored.public_key,
        chain_code=stored.chain_code,
        taproot_tweaked=share.taproot_tweaked,
        group=stored.group,
        threshold=stored.threshold,
        signers=list(stored.signers),
        signer=stored.signers[stored.index - 1],
        index=stored.index,
        generation=stored.generation,
        ceremony=stored.ceremony,
        transcript=stored.transcript,
        secret_share=share.secret_share(),
        verifying_shares=share.verifying_shares,
        protocol=stored.protocol,
        share=share.to_bytes(),
        made_for=stored.made_for,
        identity_public_key=signer.public_key,
    )
    signed = signer.sign(SHARE_COPY_TYPE, copy.model_dump_json().encode())
    return signed.model_dump_json().encode()


def read_share_copy(document: bytes) -> ShareCopy:
    """Return the contents of a decrypted share copy. Raise BadShareCopy.

    The signature is verified under the key that the document itself names. The caller compares
    that key with what it knows of the signer.
    """
    try:
        signed = SignedBytes.model_validate_json(document)
        copy = ShareCopy.model_validate_json(signed.payload)
        PinnedKeys([copy.identity_public_key]).open(SHARE_COPY_TYPE, signed)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise BadShareCopy(
            f"it is not a share copy: {where[:MAX_WHERE] or 'document'}: {fault['msg']}"
        ) from None
    except BadSignedBytes as error:
        raise BadShareCopy(f"the signer has not signed it: {error}") from None
    return copy
