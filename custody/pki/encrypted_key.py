"""An authority's private key, encrypted with a passphrase: PKCS#8, PBES2, scrypt, AES-256-CBC.

RFC 5958, section 3; RFC 8018, section 6.2; RFC 7914, section 7. `openssl pkey` reads the file.
`cryptography` itself would write PBKDF2 with 2,048 rounds, which a stolen file does not resist.
"""

import base64
import secrets

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

COST, BLOCK_SIZE, PARALLEL = 2**14, 8, 5
"""16 MiB, five times: as strong as 128 MiB once, and within the 32 MiB that openssl allows."""
KEY_SIZE = 32
BLOCK_BITS = 128
PBES2 = x509.ObjectIdentifier("1.2.840.113549.1.5.13")
SCRYPT = x509.ObjectIdentifier("1.3.6.1.4.1.11591.4.11")
AES_256_CBC = x509.ObjectIdentifier("2.16.840.1.101.3.4.1.42")


@asn1.sequence
class _ScryptParameters:
    salt: bytes
    cost: int
    block_size: int
    parallel: int
    key_size: int


@asn1.sequence
class _KeyDerivation:
    algorithm: x509.ObjectIdentifier
    parameters: _ScryptParameters


@asn1.sequence
class _Cipher:
    algorithm: x509.ObjectIdentifier
    initial_vector: bytes


@asn1.sequence
class _Scheme:
    derivation: _KeyDerivation
    cipher: _Cipher


@asn1.sequence
class _Encryption:
    algorithm: x509.ObjectIdentifier
    scheme: _Scheme


@asn1.sequence
class _EncryptedPrivateKey:
    encryption: _Encryption
    encrypted: bytes


def encrypted_pem(key: ec.EllipticCurvePrivateKey, passphrase: str) -> bytes:
    """Return the key in PEM, encrypted. `load_pem_private_key` opens it."""
    salt, initial_vector = secrets.token_bytes(16), secrets.token_bytes(16)
    derived = Scrypt(salt=salt, length=KEY_SIZE, n=COST, r=BLOCK_SIZE, p=PARALLEL).derive(
        passphrase.encode()
    )
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    padder = PKCS7(BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES(derived), modes.CBC(initial_vector)).encryptor()
    padded = padder.update(plain) + padder.finalize()
    made = _EncryptedPrivateKey(
        encryption=_Encryption(
            algorithm=PBES2,
            scheme=_Scheme(
                derivation=_KeyDerivation(
                    algorithm=SCRYPT,
                    parameters=_ScryptParameters(
                        salt=salt,
                        cost=COST,
                        block_size=BLOCK_SIZE,
                        parallel=PARALLEL,
                        key_size=KEY_SIZE,
                    ),
                ),
                cipher=_Cipher(algorithm=AES_256_CBC, initial_vector=initial_vector),
            ),
        ),
        encrypted=encryptor.update(padded) + encryptor.finalize(),
    )
    body = base64.encodebytes(asn1.encode_der(made)).replace(b"\n", b"")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    begin, end = b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"-----END ENCRYPTED PRIVATE KEY-----"
    return b"\n".join([begin, *lines, end, b""])
