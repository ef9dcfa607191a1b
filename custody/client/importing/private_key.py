"""A private key that was read, and what it can become a key of."""

from dataclasses import dataclass, field, replace

from embit.ec import PrivateKey as EmbitPrivateKey

from custody.client.importing.curves import SECRET_SIZE, public_key_of, scalar_of_seed
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    SCHNORR_SECP256K1,
    AddressType,
    Algorithm,
    Curve,
    Network,
    Scheme,
    network_algorithm,
)
from custody.wire.derivation import CHAIN_CODE_SIZE
from custody.wire.points import GROUP_ORDER, multiple_of_base

EVEN_Y = 2
"""First byte of a compressed point with an even y (SEC 1, section 2.3.3)."""


@dataclass(frozen=True)
class PrivateKey:
    """A private key with its public key, which is computed from it. ``repr`` shows no secret.

    ``secret``: 32 bytes, for Ed25519 the seed (RFC 8032), for other curves the scalar, most
    significant byte first. ``networks``: the networks that the key's format names; None if it
    names none. ``chain_code``: 32 bytes of BIP-32, where the application has one for this key.
    A Schnorr key is an output key: it has been tweaked, or never will be. Its point has an even y.
    ``is_seedless``: of an Ed25519 key that signers have made. Its ``secret`` is the scalar, most
    significant byte first, and nobody knows a seed that leads to it.

    Raises BadPrivateKey for a secret of another size, for 0 and for a number that is not below the
    order of the curve, and ValueError for another curve's key without a seed.
    """

    algorithm: Algorithm
    secret: bytes = field(repr=False)
    networks: frozenset[Network] | None = None
    chain_code: bytes | None = field(default=None, repr=False)
    is_seedless: bool = False
    public_key: bytes = field(init=False)

    def __post_init__(self) -> None:
        if self.is_seedless and self.algorithm.curve is not Curve.ED25519:
            raise ValueError(f"keys of {self.algorithm} never have a seed")
        _check_secret(self.algorithm.curve, self.secret, is_seed=self._is_seed)
        if self.chain_code is not None and len(self.chain_code) != CHAIN_CODE_SIZE:
            raise BadPrivateKey(KeyFault.WRONG_SIZE, "a chain code has 32 bytes, this one has not")
        if self.algorithm == SCHNORR_SECP256K1:
            object.__setattr__(self, "secret", _with_even_y(self.secret))
        object.__setattr__(self, "public_key", self._computed_public_key())

    @property
    def scalar(self) -> int:
        """Return the number that signs: modulo the order of the group, from 1. It is secret."""
        return scalar_of_seed(self.secret) if self._is_seed else int.from_bytes(self.secret)

    @property
    def _is_seed(self) -> bool:
        return self.algorithm.curve is Curve.ED25519 and not self.is_seedless

    def _computed_public_key(self) -> bytes:
        if self.is_seedless:
            return multiple_of_base(Curve.ED25519, self.scalar)
        return public_key_of(self.algorithm, self.secret)

    def require_form_for_hsm(self) -> None:
        """Raise BadPrivateKey for an Ed25519 key without a seed, and for a key with a chain code.

        PKCS#8 has the seed (RFC 8410, section 7), and so does CKA_VALUE in SoftHSM. A driver keeps
        no chain code, so the children of the key would be lost.
        """
        if self.chain_code is not None:
            raise BadPrivateKey(
                KeyFault.UNSUPPORTED,
                "keys of store hsm have no chain code: import the key without it, or to a signer "
                "group (store mpc)",
            )
        if self.is_seedless:
            raise BadPrivateKey(
                KeyFault.UNSUPPORTED,
                "an HSM takes the seed of an Ed25519 key, and this key is a scalar without a seed: "
                "import it to a signer group (store mpc)",
            )

    def require_public_key(self, expected: bytes) -> None:
        """Raise BadPrivateKey unless ``expected`` is this key's public key."""
        if self.public_key != expected:
            raise BadPrivateKey(
                KeyFault.PUBLIC_KEY_MISMATCH, "the private key belongs to another public key"
            )

    def for_wallet(self, network: Network, address_type: AddressType | None = None) -> "PrivateKey":
        """Return the key of a wallet: for Taproot the output key, else the same key.

        Raises BadPrivateKey if the format names other networks, or the wallet's keys are of
        another curve. Raises ValueError for an address type that the network does not have.
        """
        algorithm = network_algorithm(network, address_type)
        if self.networks is not None and network not in self.networks:
            raise BadPrivateKey(
                KeyFault.WRONG_NETWORK,
                f"the format says that the key is of {_named(self.networks)}, not of "
                f"{network.value}",
            )
        if self.algorithm.scheme is Scheme.ECDSA and algorithm == SCHNORR_SECP256K1:
            return self.taproot_output()
        return self.for_algorithm(algorithm)

    def for_algorithm(self, algorithm: Algorithm) -> "PrivateKey":
        """Return the key of a bare key of the algorithm. Nothing is tweaked.

        Raises BadPrivateKey for an algorithm of another curve.
        """
        if self.algorithm == algorithm:
            return self
        if (self.algorithm, algorithm) != (ECDSA_SECP256K1, SCHNORR_SECP256K1):
            raise BadPrivateKey(
                KeyFault.UNSUPPORTED,
                f"the private key is of {self.algorithm}: it cannot become a key of {algorithm}",
            )
        return replace(self, algorithm=algorithm, chain_code=None)

    def taproot_output(self) -> "PrivateKey":
        """Return the Schnorr key that spends this key's Taproot output without scripts.

        BIP-341, section "Constructing and spending Taproot outputs", taproot_tweak_seckey with an
        empty ``h``. Raises BadPrivateKey unless this is an ECDSA key on secp256k1.
        """
        if self.algorithm != ECDSA_SECP256K1:
            raise BadPrivateKey(
                KeyFault.UNSUPPORTED,
                f"a key of {self.algorithm} is not an internal key of Taproot",
            )
        tweaked = EmbitPrivateKey(self.secret).taproot_tweak(b"").secret
        return replace(self, algorithm=SCHNORR_SECP256K1, secret=tweaked, chain_code=None)


def networks_of(family: Network) -> frozenset[Network]:
    """Return a main network and its test networks."""
    return frozenset(each for each in Network if each.family is family)


def _check_secret(curve: Curve, secret: bytes, *, is_seed: bool) -> None:
    if len(secret) != SECRET_SIZE:
        raise BadPrivateKey(
            KeyFault.WRONG_SIZE, f"a private key has {SECRET_SIZE} bytes, not {len(secret)}"
        )
    if is_seed:
        return  # RFC 8032, section 5.1.5: any 32 bytes are a seed
    scalar = int.from_bytes(secret)
    if scalar == 0:
        raise BadPrivateKey(KeyFault.OUT_OF_RANGE, "0 is not a private key")
    if scalar >= GROUP_ORDER[curve]:
        raise BadPrivateKey(
            KeyFault.OUT_OF_RANGE,
            f"the number is not below the order of {curve.value}, so it is not a private key",
        )


def _with_even_y(secret: bytes) -> bytes:
    """Return the secret or its negative, so that the point's y is even (BIP-340)."""
    if public_key_of(ECDSA_SECP256K1, secret)[0] == EVEN_Y:
        return secret
    return (GROUP_ORDER[Curve.SECP256K1] - int.from_bytes(secret)).to_bytes(SECRET_SIZE)


def _named(networks: frozenset[Network]) -> str:
    return " or ".join(sorted(networks))
