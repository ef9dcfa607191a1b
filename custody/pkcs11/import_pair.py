"""The generation of an import key, as strong as the token allows. Workers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.pkcs11.endings import Step
from custody.pkcs11.errors import SchemeUnsupported
from custody.pkcs11.faults import FAULTS, destroy
from custody.pkcs11.operation_errors import failure_of
from custody.pkcs11.session_errors import is_refusal, name_of
from custody.pkcs11.token_traits import in_use
from custody.wire.algorithms import Protection
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error

RSA_BITS = 3072
"""As strong as AES-128 (NIST SP 800-57 part 1, table 2)."""

_TRANSPORT_KEY: dict[Attribute, Any] = {
    Attribute.CLASS: ObjectClass.SECRET_KEY,
    Attribute.KEY_TYPE: KeyType.AES,
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}
"""What an import key may unwrap: an AES key that nobody can read (CKA_UNWRAP_TEMPLATE)."""


@dataclass(frozen=True)
class ImportPair:
    """An import key. ``private``: its object on the token."""

    private: Any
    public: rsa.RSAPublicKey

    @property
    def size(self) -> int:
        """Return the length in bytes of what is encrypted to it."""
        return self.public.key_size // 8

    @property
    def encoded(self) -> bytes:
        """Return the public half as a SubjectPublicKeyInfo in DER."""
        return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def generate(session: Session, protection: Protection, **place: Any) -> ImportPair:
    """Generate an import key, as strong as the token allows. Raise HsmFailure or SessionLost.

    ``place``: store, label and id of the private half. Only the private half stays on the token.
    """
    answers = []
    for template in _templates(protection):
        try:
            return _generate(session, protection, template, place)
        except PKCS11Error as error:
            if not is_refusal(error):
                raise failure_of(Step.GENERATE, error, "generate an import key") from None
            FAULTS.note(Step.GENERATE, error)
            answers.append(name_of(error))
    raise SchemeUnsupported(f"the token makes no RSA keys for imports: it answered {answers[-1]}")


def _templates(protection: Protection) -> Sequence[dict[Attribute, Any]]:
    """Return the templates of the private half, the strongest first."""
    is_inside = protection is Protection.HSM
    base = {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.SIGN: False,
        Attribute.SIGN_RECOVER: False,
        Attribute.DECRYPT: not is_inside,
        Attribute.UNWRAP: is_inside,
    }
    hardening: dict[Attribute, Any] = {
        Attribute.COPYABLE: False,
        Attribute.ALLOWED_MECHANISMS: (Mechanism.RSA_PKCS_OAEP,),
    }
    if is_inside:
        hardening[Attribute.UNWRAP_TEMPLATE] = _TRANSPORT_KEY
    hardening[Attribute.MODIFIABLE] = False  # the last one: see unwrap_template.ATTRIBUTES
    left_out = in_use().master_key_without
    hardening = {key: value for key, value in hardening.items() if key.name not in left_out}
    without_each = [
        {**base, **{key: value for key, value in hardening.items() if key is not each}}
        for each in hardening
    ]
    return [{**base, **hardening}, *without_each, base]


def _generate(
    session: Session, protection: Protection, template: dict[Attribute, Any], place: dict[str, Any]
) -> ImportPair:
    uses = MechanismFlag.WRAP | MechanismFlag.UNWRAP
    if protection is Protection.HOST:
        uses = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
    public, private = session.generate_keypair(
        KeyType.RSA, RSA_BITS, capabilities=uses, private_template=template, **place
    )
    try:
        return ImportPair(private, public_half(public))
    finally:
        destroy(public)


def public_half(key: Any) -> rsa.RSAPublicKey:
    """Return the public half of an RSA key on the token. Raise PKCS11Error."""
    modulus = int.from_bytes(key[Attribute.MODULUS])
    exponent = int.from_bytes(key[Attribute.PUBLIC_EXPONENT])
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()
