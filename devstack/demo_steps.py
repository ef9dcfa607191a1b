"""Steps of both parts of the demo."""

from custody.client import Custody, HashFunction, Key, Signature, Wallet
from devstack.demo_results import Made
from devstack.progress import step
from devstack.verification import verify_message, verify_wallet


def sign(custody: Custody, name: str, wallet: Wallet | None, key: Key, message: str) -> Made:
    """Sign a message and verify; bare keys sign its SHA-256. Raise CustodyError or NotVerified."""
    hash_function = None if wallet else HashFunction.SHA_256
    with step(f"{name}: sign {message!r}"):
        signature = custody.sign_message(key.id, message, hash_function=hash_function)
    return verify(name, wallet, key, message, signature)


def verify(name: str, wallet: Wallet | None, key: Key, message: str, signature: Signature) -> Made:
    """Check address and signature with other libraries. Raise NotVerified."""
    with step(f"{name}: verify"):
        by = verify_wallet(wallet, key) if wallet else ""
        address = wallet.address if wallet else None
        by_message = verify_message(message, signature, key, address)
    libraries = dict.fromkeys(text for text in f"{by}, {by_message}".split(", ") if text)
    return Made(name, wallet, key, signature, ", ".join(libraries))
