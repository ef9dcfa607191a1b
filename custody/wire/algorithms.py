"""The kinds of keys: schemes, curves, networks, stores, protections."""

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
    """A network, with its test networks. Their coins have no value."""

    ETHEREUM = "Ethereum"
    BITCOIN = "Bitcoin"
    SOLANA = "Solana"
    ETHEREUM_SEPOLIA = "EthereumSepolia"
    BITCOIN_TESTNET4 = "BitcoinTestnet4"  # BIP-94
    BITCOIN_SIGNET = "BitcoinSignet"  # BIP-325
    SOLANA_DEVNET = "SolanaDevnet"

    @property
    def family(self) -> "Network":
        """Return the main network: keys and messages of its test networks follow its rules."""
        return _FAMILY.get(self, self)

    @property
    def is_test(self) -> bool:
        """Return True for a test network: its coins have no value."""
        return self in _FAMILY


_FAMILY = {
    Network.ETHEREUM_SEPOLIA: Network.ETHEREUM,
    Network.BITCOIN_TESTNET4: Network.BITCOIN,
    Network.BITCOIN_SIGNET: Network.BITCOIN,
    Network.SOLANA_DEVNET: Network.SOLANA,
}
MAIN_NETWORKS = tuple(network for network in Network if network.family is network)
"""The networks that are not test networks."""


class AddressType(StrEnum):
    """The type of a Bitcoin wallet's address, which fixes the key's algorithm."""

    P2WPKH = "p2wpkh"  # BIP-141
    P2TR = "p2tr"  # BIP-341, spent by the key only, without scripts


class Store(StrEnum):
    """Where a key lives: the mode of the nodes that hold it."""

    HSM = "hsm"
    MPC = "mpc"


class Protection(StrEnum):
    """The place of the private key: inside the HSM, on the host (host signing), or shares only."""

    HSM = "hsm"
    HOST = "host"
    MPC = "mpc"


class HashFunction(StrEnum):
    """Hash functions with 32-byte digests, for messages of bare ECDSA and Schnorr keys."""

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
        """Parse ``scheme/curve``. Raise ValueError unless it is one of ALGORITHMS."""
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
    """Raise ValueError for a combination that is not an algorithm, as EdDSA on secp256k1."""
    algorithm = Algorithm(scheme, curve)
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{algorithm} is not an algorithm of this service")
    return algorithm


HSM_ALGORITHMS = (ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519)
"""The algorithms of HSM mode, inside a token or on the host; tickets.py has those of MPC mode."""

_FAMILY_ALGORITHMS = {
    Network.ETHEREUM: (ECDSA_SECP256K1,),
    Network.BITCOIN: (ECDSA_SECP256K1, SCHNORR_SECP256K1),
    Network.SOLANA: (EDDSA_ED25519,),
}
NETWORK_ALGORITHMS = {network: _FAMILY_ALGORITHMS[network.family] for network in Network}
"""The algorithms of each network's wallets; the first is the default."""

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
    """Return the algorithm of a wallet's key. Raise ValueError for a wrong address type."""
    if address_type is None:
        return NETWORK_ALGORITHMS[network][0]
    if network.family is not Network.BITCOIN:
        raise ValueError(
            f"address_type: only Bitcoin wallets have one, {network.value} wallets do not"
        )
    return ADDRESS_TYPE_ALGORITHM[address_type]


def may_have_wallet(key_network: Network | None, algorithm: Algorithm, network: Network) -> bool:
    """Return True if a key may have a wallet on a network.

    ``key_network``: the network that the key was made for; None for a bare key. Any wallet of a key
    that was made for a network is of the same family, so that messages mean the same on all. A key
    for a test network has no wallet on the main network: a gate that sees a test network may allow
    what it never allows with money.
    """
    if algorithm not in NETWORK_ALGORITHMS[network]:
        return False
    if key_network is None:
        return True
    return key_network.family is network.family and (network.is_test or not key_network.is_test)
