"""Keys made and used with one session: the operations of a worker. Workers only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from custody.pkcs11 import host_key, host_signing, token_scheme
from custody.pkcs11.errors import HsmFailure, InvalidData, KeyUnusable, SchemeUnsupported
from custody.pkcs11.identification import Candidate
from custody.pkcs11.login import name_of
from custody.pkcs11.master_key import MasterKey, newest
from custody.pkcs11.messages import Capability
from custody.pkcs11.session_errors import SESSION_LOST, SessionLost
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Algorithm, Protection, Scheme
from custody.wire.signatures import RAW_SIZE
from pkcs11 import Attribute, Mechanism, Session
from pkcs11.exceptions import PKCS11Error

DIGEST_SIZE = 32


class SessionKeys:
    """Generates and signs. Every failure is HsmFailure, or SessionLost when the worker must go."""

    def __init__(
        self,
        session: Session,
        candidates: Sequence[Candidate],
        capabilities: list[Capability],
    ) -> None:
        self._session = session
        self._masters = {each.name: each.master for each in candidates}
        self._candidates = {each.name: each for each in candidates}
        self._capabilities = {capability.algorithm: capability for capability in capabilities}

    def generate(self, algorithm: Algorithm) -> WrappedKey:
        """Make a new key, wrapped by the newest master key."""
        capability = self._capabilities.get(algorithm)
        if capability is None:
            raise SchemeUnsupported(f"this node has no way to make {algorithm} keys")
        is_host = capability.protection is Protection.HOST
        master = newest(list(self._masters.values()), is_host)
        if master is None:
            raise SchemeUnsupported(f"the token has no master key for {algorithm} keys")
        with _translated(f"generate a key of {algorithm}"):
            if is_host:
                public_key, wrapped = self._generate_on_host(master, algorithm)
            else:
                public_key, wrapped = self._generate_inside(master, capability)
        return WrappedKey(
            algorithm=algorithm,
            public_key=public_key,
            protection=capability.protection,
            wrapped=wrapped,
            master_key=master.name,
            mechanism=capability.mechanism,
        )

    def _generate_inside(self, master: MasterKey, capability: Capability) -> tuple[bytes, bytes]:
        mechanism = Mechanism[capability.mechanism]
        with token_scheme.generated(self._session, capability.algorithm) as (_, private, public):
            wrapped: bytes = master.key.wrap_key(private, mechanism=mechanism)
            return public, wrapped

    def _generate_on_host(self, master: MasterKey, algorithm: Algorithm) -> tuple[bytes, bytes]:
        private_key, public_key = host_signing.generate(algorithm)
        bound = host_signing.associated_data(algorithm, public_key)
        return public_key, host_key.seal(master, private_key, bound)

    def seal(self, name: str, secret: bytes, associated_data: bytes) -> bytes:
        """Encrypt what is kept outside, by a key that encrypts host keys."""
        with _translated("encrypt"):
            return host_key.seal(self._encrypting(name), secret, associated_data)

    def unseal(self, name: str, sealed: bytes, associated_data: bytes) -> bytes:
        """Decrypt what ``seal`` made. Raises KeyUnusable for anything else."""
        master = self._encrypting(name)
        try:
            return host_key.unseal(master, sealed, associated_data)
        except PKCS11Error as error:
            raise self._unwrap_failure(master, error) from None

    def _encrypting(self, name: str) -> MasterKey:
        master = self._masters.get(name)
        if master is None or not master.is_host:
            raise KeyUnusable(f"the token has no key {name!r} that encrypts")
        return master

    def sign(self, key: WrappedKey, data: list[bytes]) -> list[bytes | HsmFailure]:
        """Signatures in the order of ``data``, the key unwrapped once for all of them."""
        master = self._masters.get(key.master_key)
        if master is None:
            raise KeyUnusable(
                f"the key is wrapped by {key.master_key!r}, which this token does not have"
            )
        if master.is_host is not (key.protection is Protection.HOST):
            raise KeyUnusable(f"{key.master_key!r} wraps no keys of protection {key.protection}")
        if master.is_host:
            return self._sign_on_host(master, key, data)
        return self._sign_inside(master, key, data)

    def _sign_inside(
        self, master: MasterKey, key: WrappedKey, data: list[bytes]
    ) -> list[bytes | HsmFailure]:
        mechanism = _wrap_mechanism(key.mechanism)
        try:
            private_key = token_scheme.unwrap(
                master.key, key.algorithm, key.wrapped, mechanism, self._left_out(key.algorithm)
            )
        except PKCS11Error as error:
            raise self._unwrap_failure(master, error) from None
        try:
            return [_sign_inside(private_key, key.algorithm, item) for item in data]
        finally:
            with _translated("destroy an unwrapped key"):
                private_key.destroy()

    def _left_out(self, algorithm: Algorithm) -> list[Attribute]:
        """Return the attributes that this token refuses when it unwraps such a key."""
        capability = self._capabilities.get(algorithm)
        names = [] if capability is None else capability.unwrapped_without
        return [Attribute[name] for name in names]

    def _sign_on_host(
        self, master: MasterKey, key: WrappedKey, data: list[bytes]
    ) -> list[bytes | HsmFailure]:
        if key.mechanism != host_key.MECHANISM:
            raise KeyUnusable(
                f"{key.mechanism!r} is not a mechanism that host keys are sealed with"
            )
        bound = host_signing.associated_data(key.algorithm, key.public_key)
        try:
            private_key = host_key.unseal(master, key.wrapped, bound)
        except PKCS11Error as error:
            raise self._unwrap_failure(master, error) from None
        return [
            _size_fault(key.algorithm, item)
            or host_signing.sign_on_host(key.algorithm, private_key, item)
            for item in data
        ]

    def _unwrap_failure(self, master: MasterKey, error: PKCS11Error) -> HsmFailure:
        """Return what failed when a token did not unwrap a key. Raise SessionLost.

        Tokens answer a damaged wrapped key with any error. If the master key still passes its
        check, the wrapped key is at fault. Otherwise the session is lost.
        """
        if isinstance(error, SESSION_LOST):
            raise SessionLost(name_of(error)) from None
        try:
            second = self._candidates[master.name].refusal()
        except PKCS11Error as lost:
            raise SessionLost(f"{name_of(error)}, then {name_of(lost)}") from None
        if second is not None:
            raise SessionLost(f"{name_of(error)}, then {master.name!r}: {second}")
        return KeyUnusable(
            f"the wrapped key is damaged, or not of {master.name!r} ({name_of(error)})"
        )


def _wrap_mechanism(name: str) -> Mechanism:
    for mechanism in token_scheme.WRAP_MECHANISMS:
        if mechanism.name == name:
            return mechanism
    raise KeyUnusable(f"{name!r} is not a mechanism that keys are wrapped with")


def _size_fault(algorithm: Algorithm, data: bytes) -> HsmFailure | None:
    if algorithm.scheme is Scheme.ECDSA and len(data) != DIGEST_SIZE:
        return InvalidData(f"ECDSA signs {DIGEST_SIZE} bytes, not {len(data)}")
    return None


def _sign_inside(private_key: object, algorithm: Algorithm, data: bytes) -> bytes | HsmFailure:
    fault = _size_fault(algorithm, data)
    if fault is not None:
        return fault
    try:
        with _translated("sign"):
            raw = token_scheme.sign_in_token(private_key, algorithm, data)
    except HsmFailure as failure:
        return failure
    if len(raw) != RAW_SIZE:
        return HsmFailure(f"the token made a signature of {len(raw)} bytes, not {RAW_SIZE}")
    return raw


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """PKCS#11's errors into ours."""
    try:
        yield
    except SESSION_LOST as error:
        raise SessionLost(name_of(error)) from None
    except PKCS11Error as error:
        raise HsmFailure(f"cannot {doing}: the token answered {name_of(error)}") from None
