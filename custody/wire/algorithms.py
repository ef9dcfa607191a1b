"""What keys can be: schemes, curves, networks, stores, protections."""

from enum import StrEnum
from typing import NamedTuple


class Scheme(StrEnum):
    ECDSA = "ECDSA"  # FIPS 186-5, section 6
    EDDSA = "EdDSA"  # RFC 8032
    SCHNORR = "Schnorr"  # BIP-340


class Curve(StrEnum):
    SECP256K1 = "secp256k1"  # SEC 2, section 2.4.1
    SECP256R1 = "secp256r1"  # SEC 2, section 2.4.2; NIST P-256
    ED25519 = "ed25519"  # RFC 8032, section 5.1


class Network(StrEnum):
    ETHEREUM = "Ethereum"
    BITCOIN = "Bitcoin"
    SOLANA = "Solana"


class AddressType(StrEnum):
    """What a Bitcoin wallet's address is made of, which fixes its algorithm."""

    P2WPKH = "p2wpkh"  # BIP-141
    P2TR = "p2tr"  # BIP-341, of a key alone, without scripts


class Store(StrEnum):
    """Where a key lives: the mode of the nodes that hold it."""

    HSM = "hsm"
    MPC = "mpc"


class Protection(StrEnum):
    """Where the private key is: in the HSM, (host signing) on the node's host, or nowhere whole."""

    HSM = "hsm"
    HOST = "host"
    MPC = "mpc"


class HashFunction(StrEnum):
    """Hash functions of 32 bytes that a bare ECDSA or Schnorr key signs the digest of."""

    SHA_256 = "SHA-256"  # FIPS 180-4
    SHA3_256 = "SHA3-256"  # FIPS 202
    KECCAK_256 = "Keccak-256"  # the original Keccak padding, as Ethereum has it


class Algorithm(NamedTuple):
    """A signature scheme on a curve; written ``ECDSA/secp256k1``."""

    scheme: Scheme
    curve: Curve

    def __str__(self) -> str:
        return f"{self.scheme.value}/{self.curve.value}"

    @classmethod
    def parse(cls, text: str) -> "Algorithm":
        """Read ``scheme/curve``; ValueError when it is none of ALGORITHMS."""
        for algorithm in ALGORITHMS:
            if str(algorithm) == text:
                return algorithm
        raise ValueError(f"unknown algorithm {text!r}: one of {', '.join(map(str, ALGORITHMS))}")


ECDSA_SECP256K1 = Algorithm(Scheme.ECDSA, Curve.SECP256K1)
ECDSA_SECP256R1 = Algorithm(Scheme.ECDSA, Curve.SECP256R1)
EDDSA_ED25519 = Algorithm(Scheme.EDDSA, Curve.ED25519)
SCHNORR_SECP256K1 = Algorithm(Scheme.SCHNORR, Curve.SECP256K1)
ALGORITHMS = (ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, SCHNORR_SECP256K1)


def known_algorithm(scheme: Scheme, curve: Curve) -> Algorithm:
    """ValueError when there is no such algorithm, as EdDSA on secp256k1."""
    algorithm = Algorithm(scheme, curve)
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{algorithm} is not an algorithm of this service")
    return algorithm


HSM_ALGORITHMS = (ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519)
"""What HSM mode can have, inside a token or on the host; MPC mode's are in tickets.py."""

NETWORK_ALGORITHMS = {
    Network.ETHEREUM: (ECDSA_SECP256K1,),
    Network.BITCOIN: (ECDSA_SECP256K1, SCHNORR_SECP256K1),
    Network.SOLANA: (EDDSA_ED25519,),
}
"""What keys a network's wallets can have; the first is what they have unless asked otherwise."""

ADDRESS_TYPE_ALGORITHM = {
    AddressType.P2WPKH: ECDSA_SECP256K1,
    AddressType.P2TR: SCHNORR_SECP256K1,
}

PUBLIC_KEY_SIZE = {
    ECDSA_SECP256K1: 33,  # SEC 1, section 2.3.3, compressed
    ECDSA_SECP256R1: 33,
    EDDSA_ED25519: 32,  # RFC 8032, section 5.1.2
    SCHNORR_SECP256K1: 32,  # BIP-340, section "Public Key Conversion"; the tweaked output key
}


def network_algorithm(network: Network, address_type: AddressType | None = None) -> Algorithm:
    """What a wallet's key signs by. ValueError for an address type that the network has not."""
    if address_type is None:
        return NETWORK_ALGORITHMS[network][0]
    if network is not Network.BITCOIN:
        raise ValueError(f"address_type: of Bitcoin wallets alone, {network.value} has none")
    return ADDRESS_TYPE_ALGORITHM[address_type]
