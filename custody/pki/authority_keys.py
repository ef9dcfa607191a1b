"""Where an authority's private key is: in a file, encrypted or not, or in an HSM's token."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.pki.encrypted_key import encrypted_pem
from custody.pki.secrets import Secrets
from custody.pki.token_key import TOKEN_FILE, TokenKey
from custody.runtime.configuration import read_secret
from custody.runtime.errors import OperatorError
from custody.runtime.private_keys import NotAPrivateKey, WrongPassphrase, load_private_key

PRIVATE_KEY = "private_key.pem"


@dataclass(frozen=True)
class KeyFile:
    """The file in an authority's folder that holds its key, or says where it is."""

    name: str
    content: bytes


def plain_file(key: ec.EllipticCurvePrivateKey) -> KeyFile:
    """Return the file of a key that is not encrypted."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyFile(PRIVATE_KEY, pem)


def encrypted_file(key: ec.EllipticCurvePrivateKey, passphrase: str) -> KeyFile:
    """Return the file of a key that only the passphrase opens."""
    return KeyFile(PRIVATE_KEY, encrypted_pem(key, passphrase))


def token_file(key: TokenKey) -> KeyFile:
    """Return the file that says in which token the key is."""
    return KeyFile(TOKEN_FILE, key.place.model_dump_json(indent=1).encode())


def load_key(
    folder: Path, certificate: x509.Certificate, secrets: Secrets
) -> ec.EllipticCurvePrivateKey:
    """Return the private key of an authority's folder. Raise OperatorError.

    The key of a token does not leave the token: each signature is made there.
    """
    public_key = certificate.public_key()
    if (folder / TOKEN_FILE).exists() and isinstance(public_key, ec.EllipticCurvePublicKey):
        return TokenKey.read(folder / TOKEN_FILE, public_key, secrets)
    path = folder / PRIVATE_KEY
    pem = read_secret(path, f"the {folder.name}'s private key")
    try:
        key = load_private_key(pem, str(path), secrets.passphrase)
    except NotAPrivateKey:
        raise OperatorError(
            f"{path} is not a PEM private key", "Restore the file that pki wrote."
        ) from None
    except WrongPassphrase as error:
        raise OperatorError(str(error), "Run the command again with its passphrase.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != public_key:
        raise OperatorError(
            f"{path} is not the key of the certificate beside it",
            "Restore the two files that pki wrote together.",
        )
    return key
