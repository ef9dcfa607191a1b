"""An authority's private key in an HSM's token: each signature is made there (PKCS#11).

The vendor's library is loaded only in a worker process (docs/adr/0006), one for each signature.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from pydantic import BaseModel, ConfigDict, ValidationError

from custody.pki.secrets import Secrets
from custody.runtime.errors import OperatorError

TOKEN_FILE = "token.json"  # noqa: S105 - the name of a file
WORKER = "custody.pki.token_worker"
DEADLINE_SECONDS = 60.0
SIGNATURE_SIZE = 64
STDERR = 2


class TokenPlace(BaseModel):
    """Where a key is: the PKCS#11 module, the token's label, and CKA_ID of the key in hex."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: str
    token_label: str
    key_id: str


class TokenKey(ec.EllipticCurvePrivateKey):
    """A P-256 key that signs in its token; every other use of the private key is refused.

    The builders of `cryptography` take any key object of this class, and call ``sign``.
    """

    def __init__(
        self, place: TokenPlace, public_key: ec.EllipticCurvePublicKey, secrets: Secrets
    ) -> None:
        self.place = place
        self._public_key = public_key
        self._secrets = secrets

    @classmethod
    def generate(cls, module: Path, token_label: str, label: str, secrets: Secrets) -> "TokenKey":
        """Make a key pair in the token. Raise OperatorError."""
        request = {"do": "generate", "label": label}
        place = TokenPlace(module=str(module.resolve()), token_label=token_label, key_id="")
        answer = _ask(place, secrets.pin(token_label), request)
        place = place.model_copy(update={"key_id": answer["key_id"]})
        return cls(place, _point(answer["point"]), secrets)

    @classmethod
    def read(
        cls, path: Path, public_key: ec.EllipticCurvePublicKey, secrets: Secrets
    ) -> "TokenKey":
        """Return the key that a folder's token file names. Raise OperatorError.

        Each signature is verified with ``public_key``, so a key of another token issues nothing.
        """
        try:
            place = TokenPlace.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise OperatorError(
                f"{path} does not say where the key is: {str(error).splitlines()[0]}",
                "Restore the file that pki wrote.",
            ) from None
        return cls(place, public_key, secrets)

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Return an ECDSA signature in DER, verified before it is returned."""
        if not isinstance(signature_algorithm.algorithm, SHA256):
            raise OperatorError("the key in the token signs SHA-256 only", "Report this error.")
        hashing = Hash(SHA256())
        hashing.update(data)
        request = {"do": "sign", "digest": hashing.finalize().hex()}
        pin = self._secrets.pin(self.place.token_label)
        raw = bytes.fromhex(_ask(self.place, pin, request)["signature"])
        half = SIGNATURE_SIZE // 2
        if len(raw) == SIGNATURE_SIZE:
            numbers = int.from_bytes(raw[:half]), int.from_bytes(raw[half:])
            signature = encode_dss_signature(*numbers)
            try:
                self._public_key.verify(signature, bytes(data), signature_algorithm)
            except InvalidSignature:
                pass
            else:
                return signature
        raise OperatorError(
            f"the token {self.place.token_label!r} returned a wrong signature",
            "Nothing was issued. Check the token with the vendor's tool.",
        )

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def exchange(self, algorithm: Any, peer_public_key: Any) -> bytes:  # noqa: ARG002
        _refuse()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        _refuse()

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> bytes:  # noqa: ARG002
        _refuse()

    def __copy__(self) -> "TokenKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "TokenKey":
        return self


def _refuse() -> NoReturn:
    raise TypeError("the private key is in a token, and does not leave it")


def _point(text: str) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(text))


def _ask(place: TokenPlace, pin: str, request: dict[str, str]) -> dict[str, str]:
    """Run one worker with one request. Raise OperatorError.

    The PIN goes through a pipe: other users can read the arguments of a process.
    """
    message = json.dumps({**place.model_dump(), "pin": pin, **request}).encode()
    command = [sys.executable, "-P", "-m", WORKER, str(os.getpid())]
    try:
        done = subprocess.run(
            command, input=message, stdout=subprocess.PIPE, timeout=DEADLINE_SECONDS, check=False
        )
        answer: dict[str, str] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise OperatorError(
            f"the HSM did not answer within {DEADLINE_SECONDS:g} s", "See to its connection."
        ) from None
    except ValueError:
        raise OperatorError(
            f"the worker process of the HSM ended with exit code {done.returncode}",
            f"See what the library {place.module} printed, and whether the HSM is reachable.",
        ) from None
    if "failed" in answer:
        raise OperatorError(answer["failed"], answer["todo"])
    return answer
