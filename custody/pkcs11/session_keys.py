"""Keys made and used with one session: the operations of a worker. Workers only."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from custody.pkcs11 import host_key, host_signing, token_scheme, wrap_mechanisms
from custody.pkcs11.endings import Step
from custody.pkcs11.errors import (
    HsmFailure,
    HsmMisconfigured,
    InvalidData,
    KeyNotWrappable,
    KeyUnusable,
    MasterKeyMissing,
    SchemeUnsupported,
)
from custody.pkcs11.fault_finding import FaultFinding
from custody.pkcs11.faults import destroy
from custody.pkcs11.identification import Candidate
from custody.pkcs11.key_cache import KeyCache
from custody.pkcs11.master_key import MasterKey, newest
from custody.pkcs11.messages import Capability
from custody.pkcs11.operation_errors import (
    TRIES,
    failure_of,
    opened,
    translated,
)
from custody.pkcs11.round_trip import Way
from custody.pkcs11.session_errors import is_loss, name_of
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Algorithm, Protection, Scheme
from custody.wire.signatures import RAW_SIZE
from pkcs11 import Attribute, Mechanism, Session
from pkcs11.exceptions import PKCS11Error

DIGEST_SIZE = 32


class SessionKeys:
    """Generates and signs.

    Every failure is HsmFailure, or SessionLost when the worker must go.
    """

    def __init__(
        self,
        session: Session,
        candidates: Sequence[Candidate],
        capabilities: list[Capability],
        cache: KeyCache,
    ) -> None:
        self._cache = cache
        self._session = session
        self._masters = {each.name: each.master for each in candidates}
        self._fault_finding = FaultFinding(session, candidates)
        self._capabilities = {capability.algorithm: capability for capability in capabilities}

    def generate(self, algorithm: Algorithm) -> WrappedKey:
        """Make a new key, wrapped by the newest master key."""
        capability, master = self.place_of(algorithm)
        if master.is_host:
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

    def place_of(self, algorithm: Algorithm) -> tuple[Capability, MasterKey]:
        """Return how new keys are kept, and the newest master key. Raise SchemeUnsupported."""
        capability = self._capabilities.get(algorithm)
        if capability is None:
            raise SchemeUnsupported(f"this node has no way to make {algorithm} keys")
        master = newest(list(self._masters.values()), capability.protection is Protection.HOST)
        if master is None:
            raise SchemeUnsupported(f"the token has no master key for {algorithm} keys")
        return capability, master

    def _generate_inside(self, master: MasterKey, capability: Capability) -> tuple[bytes, bytes]:
        with (
            translated(Step.GENERATE, f"generate a key of {capability.algorithm}"),
            token_scheme.generated(self._session, capability.algorithm) as (_, private, public),
        ):
            return public, wrap_new_key(master, capability, private)

    def _generate_on_host(self, master: MasterKey, algorithm: Algorithm) -> tuple[bytes, bytes]:
        private_key, public_key = host_signing.generate(algorithm)
        return public_key, self.seal_host_key(master, algorithm, private_key, public_key)

    def seal_host_key(
        self, master: MasterKey, algorithm: Algorithm, private_key: bytes, public_key: bytes
    ) -> bytes:
        """Encrypt a key of host signing."""
        bound = host_signing.associated_data(algorithm, public_key)
        with translated(Step.ENCRYPT, f"encrypt a new key by CKM_{host_key.MECHANISM}"):
            return _seal(master, private_key, bound)

    def seal(self, name: str, secret: bytes, associated_data: bytes) -> bytes:
        """Encrypt what is kept outside, by a key that encrypts host keys."""
        master = self._encrypting(name)
        with translated(Step.ENCRYPT, f"encrypt by CKM_{host_key.MECHANISM}"):
            return _seal(master, secret, associated_data)

    def unseal(self, name: str, sealed: bytes, associated_data: bytes) -> bytes:
        """Decrypt what ``seal`` made. Raises KeyUnusable for anything else."""
        master = self._encrypting(name)
        return opened(
            Step.DECRYPT,
            lambda: host_key.unseal(master, sealed, associated_data),
            partial(self._fault_finding.of_encrypting, master),
            f"the encrypted key is damaged, or not of {master.name!r}",
        )

    def _encrypting(self, name: str) -> MasterKey:
        master = self._master(name)
        if not master.is_host:
            raise KeyUnusable(f"the token's key {name!r} does not encrypt")
        return master

    def _master(self, name: str) -> MasterKey:
        if name not in self._masters:
            raise MasterKeyMissing(
                f"this driver has not found the master key {name!r} on its token: if the key was "
                "adopted, restart the driver"
            )
        return self._masters[name]

    def _master_of(self, key: WrappedKey) -> MasterKey:
        master = self._master(key.master_key)
        if master.is_host is not (key.protection is Protection.HOST):
            raise KeyUnusable(f"{key.master_key!r} wraps no keys of protection {key.protection}")
        if master.is_host and key.mechanism != host_key.MECHANISM:
            raise KeyUnusable(
                f"{key.mechanism!r} is not a mechanism that host keys are sealed with"
            )
        return master

    def rewrap(self, key: WrappedKey, to: str) -> WrappedKey:
        """Return the key, wrapped by the master key ``to``. The caller proves the answer.

        Raise KeyNotWrappable if the key's master key is locked, and KeyUnusable for a damaged key.
        """
        old, new = self._master_of(key), self._master(to)
        if new.is_host is not old.is_host:
            raise KeyUnusable(f"{to!r} wraps no keys of protection {key.protection}")
        if old.is_host:
            mechanism, wrapped = host_key.MECHANISM, self._sealed_again(old, new, key)
        else:
            mechanism, wrapped = self._wrapped_again(old, new, key)
        return replace(key, wrapped=wrapped, master_key=new.name, mechanism=mechanism)

    def _sealed_again(self, old: MasterKey, new: MasterKey, key: WrappedKey) -> bytes:
        bound = host_signing.associated_data(key.algorithm, key.public_key)
        private_key = self.unseal(old.name, key.wrapped, bound)
        return self.seal(new.name, private_key, bound)

    def _wrapped_again(self, old: MasterKey, new: MasterKey, key: WrappedKey) -> tuple[str, bytes]:
        capability = self._capabilities.get(key.algorithm)
        if capability is None or capability.protection is not Protection.HSM:
            raise SchemeUnsupported(f"the token wraps no {key.algorithm} keys at present")
        mechanism = _wrap_mechanism(capability.mechanism)
        private_key = self._unwrap_extractable(old, key)
        try:
            with translated(Step.WRAP, f"wrap a key by CKM_{mechanism.name} under {new.name!r}"):
                return capability.mechanism, new.key.wrap_key(private_key, mechanism=mechanism)
        finally:
            destroy(private_key)

    def _unwrap_extractable(self, master: MasterKey, key: WrappedKey) -> Any:
        """Return the key as an object that another key can wrap. Raise KeyNotWrappable."""
        way = self._way(key)
        for _ in range(TRIES):
            try:
                return token_scheme.unwrap(
                    master.key, way.algorithm, key.wrapped, way.mechanism, way.without,
                    extractable=True,
                )  # fmt: skip
            except PKCS11Error as error:
                if is_loss(error):
                    raise failure_of(Step.UNWRAP, error, "unwrap a key as extractable") from None
                answer = name_of(error)
            # raises if this key or the token is at fault; otherwise the token did as it should
            destroy(self._unwrap(master, key))
        raise KeyNotWrappable(
            f"{master.name!r} is locked: it lets no key be unwrapped as extractable (the token "
            f"answered {answer})"
        )

    def sign(self, key: WrappedKey, data: list[bytes]) -> list[bytes | HsmFailure]:
        """Signatures in the order of ``data``, the key unwrapped once for all of them."""
        master = self._master_of(key)
        if master.is_host:
            return self._sign_on_host(master, key, data)
        return self._sign_inside(master, key, data)

    def _sign_inside(
        self, master: MasterKey, key: WrappedKey, data: list[bytes]
    ) -> list[bytes | HsmFailure]:
        kept = self._cache.take(key)
        expires_at = self._cache.new_expiry() if kept is None else kept[1]
        private_key = self._unwrap(master, key) if kept is None else kept[0]
        # not destroyed after SessionLost: the worker ends, and its session's objects with it
        signatures = [_sign_inside(private_key, key.algorithm, item) for item in data]
        if any(isinstance(each, HsmFailure) for each in signatures):
            destroy(private_key)
        else:
            self._cache.keep(key, private_key, expires_at)
        return signatures

    def _unwrap(self, master: MasterKey, key: WrappedKey) -> Any:
        way = self._way(key)
        return opened(
            Step.UNWRAP,
            lambda: token_scheme.unwrap(
                master.key, way.algorithm, key.wrapped, way.mechanism, way.without
            ),
            partial(self._fault_finding.of_wrapping, master, way),
            f"the wrapped key is damaged, or not of {master.name!r}",
        )

    def _way(self, key: WrappedKey) -> Way:
        left_out = frozenset(self._left_out(key.algorithm))
        return Way(key.algorithm, _wrap_mechanism(key.mechanism), left_out)

    def _left_out(self, algorithm: Algorithm) -> list[Attribute]:
        """Return the attributes that this token refuses when it unwraps such a key."""
        capability = self._capabilities.get(algorithm)
        names = [] if capability is None else capability.unwrapped_without
        return [Attribute[name] for name in names]

    def _sign_on_host(
        self, master: MasterKey, key: WrappedKey, data: list[bytes]
    ) -> list[bytes | HsmFailure]:
        bound = host_signing.associated_data(key.algorithm, key.public_key)
        private_key = self.unseal(master.name, key.wrapped, bound)
        return [
            _size_fault(key.algorithm, item)
            or host_signing.sign_on_host(key.algorithm, private_key, item)
            for item in data
        ]


def wrap_new_key(master: MasterKey, capability: Capability, private_key: Any) -> bytes:
    """Wrap a session object that is extractable. Raise HsmFailure or SessionLost."""
    mechanism = _wrap_mechanism(capability.mechanism)
    with translated(Step.WRAP, f"wrap a new key by CKM_{mechanism.name}"):
        wrapped: bytes = master.key.wrap_key(private_key, mechanism=mechanism)
        return wrapped


def _wrap_mechanism(name: str) -> Mechanism:
    mechanism = wrap_mechanisms.of_stored_key(name)
    if mechanism is None:
        raise KeyUnusable(
            f"{name!r} is not a mechanism that keys are wrapped with, nor in wrap_mechanisms"
        )
    return mechanism


def _seal(master: MasterKey, secret: bytes, associated_data: bytes) -> bytes:
    try:
        return host_key.seal(master, secret, associated_data)
    except host_key.NonceReplaced as replaced:
        raise HsmMisconfigured(str(replaced)) from None


def _size_fault(algorithm: Algorithm, data: bytes) -> HsmFailure | None:
    if algorithm.scheme is Scheme.ECDSA and len(data) != DIGEST_SIZE:
        return InvalidData(f"ECDSA signs {DIGEST_SIZE} bytes, not {len(data)}")
    return None


def _sign_inside(private_key: object, algorithm: Algorithm, data: bytes) -> bytes | HsmFailure:
    fault = _size_fault(algorithm, data)
    if fault is not None:
        return fault
    mechanism = token_scheme.SCHEMES[algorithm].mechanism
    try:
        with translated(Step.SIGN, f"sign by CKM_{mechanism.name}"):
            raw = token_scheme.sign_in_token(private_key, algorithm, data)
    except HsmFailure as failure:
        return failure
    if len(raw) != RAW_SIZE:
        return HsmFailure(f"the token made a signature of {len(raw)} bytes, not {RAW_SIZE}")
    return raw
