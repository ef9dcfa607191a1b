"""Checks addresses and signatures with libraries that the service itself does not use for them."""

import hashlib
from collections.abc import Callable
from functools import partial

import bdkpython
from bitcoin.core import Hash160
from bitcoin.core.key import CPubKey
from bitcoin.core.script import OP_0, CScript
from bitcoin.signmessage import BitcoinMessage
from bitcoin.wallet import P2WPKHBitcoinAddress
from buidl.script import P2TRScriptPubKey, P2WPKHScriptPubKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account
from eth_account.messages import defunct_hash_message, encode_defunct
from eth_keys.datatypes import PublicKey
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from solders.pubkey import Pubkey
from solders.signature import Signature as SolanaSignature

from custody.client import Key, Network, Scheme, Signature, Wallet
from custody.wire.answers import known
from devstack.bip322 import NotSigned, check_taproot_message

P2WPKH_HEADERS = range(39, 43)  # BIP-137
COMPRESSED_HEADER = 31  # libraries older than segwit expect it for a compressed public key


class NotVerified(Exception):
    """Another library finds another address, or an invalid signature."""


def verify_wallet(wallet: Wallet, key: Key) -> str:
    """Check a wallet's address against its public key. Return the libraries that agree."""
    find, libraries = _ADDRESSES[known(wallet.network), known(key.scheme)]
    address = find(_public_key(key))
    _require(wallet.address == address, f"the address should be {address}, is {wallet.address}")
    return libraries


def verify_message(message: str, signature: Signature, key: Key, address: str | None) -> str:
    """Check a message's signature. Return the libraries that agree. Raise NotVerified."""
    match None if key.network is None else known(key.network).family:
        case Network.ETHEREUM:
            return _ethereum(message, signature, _public_key(key), address)
        case Network.BITCOIN if key.scheme is Scheme.SCHNORR:
            return _taproot(message, signature, address)
        case Network.BITCOIN:
            return _bitcoin(message, signature, _public_key(key))
        case Network.SOLANA:
            return _solana(message, signature, address)
        case _:
            return _p256(message, signature, _public_key(key))


def _p2wpkh_address(network: bdkpython.Network, point: bytes) -> str:
    script = CScript([OP_0, Hash160(point)])
    address = P2WPKHScriptPubKey(Hash160(point)).address(network=_BUIDL[network])
    if network is bdkpython.Network.BITCOIN:
        address = _same(address, str(P2WPKHBitcoinAddress.from_scriptPubKey(script)))
    return _same(address, _bdk_address(network, bytes(script)))


def _p2tr_address(network: bdkpython.Network, output_key: bytes) -> str:
    script = P2TRScriptPubKey(output_key)
    address = script.address(network=_BUIDL[network])
    return _same(address, _bdk_address(network, script.raw_serialize()))


_BUIDL = {
    bdkpython.Network.BITCOIN: "mainnet",
    bdkpython.Network.TESTNET4: "testnet",
    bdkpython.Network.SIGNET: "signet",
}


def _bdk_address(network: bdkpython.Network, script: bytes) -> str:
    return str(bdkpython.Address.from_script(bdkpython.Script(script), network))


def _same(address: str, again: str) -> str:
    _require(address == again, f"two libraries find two addresses: {address} and {again}")
    return address


_ADDRESSES: dict[tuple[Network, Scheme], tuple[Callable[[bytes], str], str]] = {
    (Network.ETHEREUM, Scheme.ECDSA): (
        lambda point: PublicKey.from_compressed_bytes(point).to_checksum_address(),
        "eth-keys",
    ),
    (Network.SOLANA, Scheme.EDDSA): (lambda point: str(Pubkey.from_bytes(point)), "solders"),
}
for _network, _theirs in (
    (Network.BITCOIN, bdkpython.Network.BITCOIN),
    (Network.BITCOIN_TESTNET4, bdkpython.Network.TESTNET4),
    (Network.BITCOIN_SIGNET, bdkpython.Network.SIGNET),
):
    _ADDRESSES |= {
        (_network, Scheme.ECDSA): (partial(_p2wpkh_address, _theirs), "buidl, bdkpython"),
        (_network, Scheme.SCHNORR): (partial(_p2tr_address, _theirs), "buidl, bdkpython"),
    }
for _test in (Network.ETHEREUM_SEPOLIA, Network.SOLANA_DEVNET):  # addresses of the main network
    _ADDRESSES |= {
        (_test, scheme): found
        for (network, scheme), found in _ADDRESSES.items()
        if network is _test.family
    }
"""Functions that compute an address independently of the service, and their libraries."""


def _ethereum(message: str, signature: Signature, point: bytes, address: str | None) -> str:
    """Recover the signer's address from r, s and v (EIP-191)."""
    encoded = _encoded(signature)
    digest = bytes(defunct_hash_message(text=message))
    _require(signature.digest == digest, f"the digest should be 0x{digest.hex()}")
    signer = Account.recover_message(encode_defunct(text=message), signature=encoded)
    _require(signer == address, f"the signature is {signer}'s, not {address}'s")
    found = PublicKey.from_compressed_bytes(point).to_checksum_address()
    _require(found == signer, "the public key is not the signer's")
    return "eth-account, eth-keys"


def _bitcoin(message: str, signature: Signature, point: bytes) -> str:
    """Recover the public key from header, r and s (BIP-137)."""
    encoded = _encoded(signature)
    digest = BitcoinMessage(message).GetHash()
    _require(signature.digest == digest, f"the digest should be 0x{digest.hex()}")
    _require(encoded[0] in P2WPKH_HEADERS, f"the header of P2WPKH is 39 to 42, not {encoded[0]}")
    compact = bytes([encoded[0] - P2WPKH_HEADERS.start + COMPRESSED_HEADER]) + encoded[1:]
    found = CPubKey.recover_compact(digest, compact)
    _require(found == point, "the signature is of another public key")
    return "python-bitcoinlib"


def _taproot(message: str, signature: Signature, address: str | None) -> str:
    """Check that the witness spends the message's output, by the rules of consensus (BIP-322)."""
    try:
        check_taproot_message(address or "", message.encode(), _encoded(signature))
    except NotSigned as error:
        raise NotVerified(str(error)) from None
    return "buidl"


def _solana(message: str, signature: Signature, address: str | None) -> str:
    """Verify Ed25519 over the message itself; the address is the public key."""
    encoded = _encoded(signature)
    _require(signature.digest is None, "Ed25519 has no digest")
    signer = Pubkey.from_string(address or "")
    good = SolanaSignature.from_bytes(encoded).verify(signer, message.encode())
    _require(good, f"the signature is not {signer}'s")
    try:
        VerifyKey(bytes(signer)).verify(message.encode(), encoded)
    except BadSignatureError:
        raise NotVerified(f"the signature is not {signer}'s") from None
    return "solders, pynacl"


def _p256(message: str, signature: Signature, point: bytes) -> str:
    """Verify ECDSA over SHA-256, in DER."""
    digest = hashlib.sha256(message.encode()).digest()
    _require(signature.digest == digest, f"the digest should be 0x{digest.hex()}")
    public_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    try:
        public_key.verify(_encoded(signature), message.encode(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise NotVerified("the signature is of another public key or message") from None
    return "cryptography (OpenSSL)"


def _public_key(key: Key) -> bytes:
    if key.public_key is None:
        raise NotVerified(f"key {key.id} has no public key")
    return key.public_key


def _encoded(signature: Signature) -> bytes:
    if signature.signature is None:
        raise NotVerified(f"signature {signature.id} is {signature.status.value}")
    return signature.signature.encoded


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotVerified(otherwise)
