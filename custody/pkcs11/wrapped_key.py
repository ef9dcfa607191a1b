"""A stored private key: encrypted by a key that never leaves the HSM."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from custody.wire.algorithms import Algorithm, Protection


@dataclass(frozen=True)
class WrappedKey:
    """``public_key`` is compressed SEC1 or 32 raw bytes (custody.wire.algorithms.PUBLIC_KEY_SIZE).

    ``master_key`` names the AES key and its version, as ``Hsm.check_values`` does.
    ``mechanism`` names how ``wrapped`` was made: a PKCS#11 wrap mechanism of a PKCS#8 private key
    (PKCS#11 3.1, section 6.7), or for host signing AES_GCM. ``imported``: the private key came from
    an application, which may still have it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64"
    )

    algorithm: Algorithm
    public_key: bytes
    protection: Protection
    wrapped: bytes
    master_key: str
    mechanism: str
    imported: bool = False
