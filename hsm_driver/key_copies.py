"""Wrapped-key copies: each new key is in the owner's S3 bucket before it is in the database.

A copy is a row of wrapped_keys, sealed by the token's key for host signing (AES-GCM) with the key's
id as associated data. So only this HSM reads a copy. The seal does not prove who made the copy:
every holder of the PIN can use the token's key. So the driver signs the sealed copy with its
identity key. It accepts copies that are signed by itself or by a driver that is pinned. Without
this, a holder of the PIN who writes to the bucket could put a key of known value in a new key's
place.

A new key has one object, KEY_ID.json. The driver that finds one takes the key that is in it, so
that a key whose commit failed is not made twice. A rewrapped key has one more object for each
version of the master key, as KEY_ID.2.json. No object is ever written twice.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Self
from uuid import UUID

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from custody.node.errors import Failed
from custody.pkcs11.errors import KeyUnusable, MasterKeyMissing
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.master_key import HOST_SUFFIX
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.live_tls import LiveTls
from custody.s3.bucket import Bucket
from custody.s3.faults import FaultKind, S3Fault
from custody.wire.algorithms import Curve, Network, Protection, Scheme, known_algorithm
from custody.wire.encoding import Base64Bytes, HexBytes, Model
from custody.wire.framing import Domain, tagged
from custody.wire.public_keys import check_public_key
from custody.wire.signed_bytes import (
    KEY_COPY_TYPE,
    KEY_ID,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)

SUFFIX = ".json"
NAME = re.compile(r"([0-9a-f-]{36})(?:\.([1-9][0-9]{0,6}))?\.json")
"""An object's name: the key's id, and the version of the master key if the key was rewrapped."""


class SealedCopy(Model):
    """What is signed. ``sealed_by`` names the token's key that sealed it, as ``custody-host/1``."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    key_id: UUID
    sealed_by: str
    sealed: Base64Bytes


class KeyCopy(Model):
    """What is sealed: the row."""

    key_id: UUID
    scheme: Scheme
    curve: Curve
    network: Network | None
    public_key: HexBytes
    protection: Protection
    wrapped: Base64Bytes
    master_key: str
    mechanism: str
    imported: bool = False

    @model_serializer(mode="wrap")
    def _as_before_for_a_generated_key(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        """Leave out a false ``imported``: readers of earlier versions do not know the field."""
        fields: dict[str, object] = serialize(self)
        if not self.imported:
            fields.pop("imported", None)
        return fields

    @model_validator(mode="after")
    def _has_a_public_key(self) -> Self:
        check_public_key(known_algorithm(self.scheme, self.curve), self.public_key)
        return self

    @property
    def key(self) -> WrappedKey:
        return WrappedKey(
            algorithm=known_algorithm(self.scheme, self.curve),
            public_key=self.public_key,
            protection=self.protection,
            wrapped=self.wrapped,
            master_key=self.master_key,
            mechanism=self.mechanism,
            imported=self.imported,
        )


class KeyCopies:
    """Puts copies into the bucket, and reads them. Raises Failed.

    ``signer``: this driver's identity key. ``others``: identity public keys of the group's drivers
    whose copies count too.
    """

    def __init__(
        self, hsm: Hsm, bucket: Bucket, signer: SigningKey, others: Sequence[bytes] = ()
    ) -> None:
        self._hsm = hsm
        self._bucket = bucket
        self._signer = signer
        self._pinned = PinnedKeys([signer.public_key, *others])
        self._prefix = bucket.settings.prefix
        self._problem: str | None = None

    @property
    def tls(self) -> list[LiveTls]:
        """Return the TLS files that the driver watches."""
        return [] if self._bucket.tls is None else [self._bucket.tls]

    def problem(self) -> str | None:
        """Return why the last copy could not be put or read. Meanwhile no key is made."""
        return self._problem

    async def put(self, key_id: UUID, network: Network | None, key: WrappedKey) -> WrappedKey:
        """Put a new key's copy and return the key; if there is a copy, return the key in it."""
        return await self._put(object_name(key_id), key_id, network, key)

    async def put_rewrapped(
        self, key_id: UUID, network: Network | None, key: WrappedKey
    ) -> WrappedKey:
        """Put the copy of a rewrapped key beside the earlier ones. Return as ``put`` does.

        Raise Failed if the first copy is of another key. A copy is never written again, and a
        rebuild takes the newest: a row that was changed must not get one.
        """
        first = await self._first(key_id)
        if first is not None and first.public_key != key.public_key:
            raise _unusable(
                f"the stored row of key {key_id} has another public key than the key's first copy "
                "in S3: hsm-driver audit verify names rows that were changed"
            )
        name = object_name(key_id, version_of(key.master_key))
        found = await self._put(name, key_id, network, key)
        if (found.public_key, found.master_key) != (key.public_key, key.master_key):
            raise _unusable(
                f"the copy {name} is of another key than {key_id} under {key.master_key!r}"
            )
        return found

    async def _first(self, key_id: UUID) -> KeyCopy | None:
        """Return the copy of when the key was new; None if there is none that opens here."""
        try:
            return await self.read(key_id)
        except Failed as error:
            if error.transient and not is_about_one_object(error):
                raise
            return None

    async def _put(
        self, name: str, key_id: UUID, network: Network | None, key: WrappedKey
    ) -> WrappedKey:
        copy = KeyCopy(
            key_id=key_id,
            scheme=key.algorithm.scheme,
            curve=key.algorithm.curve,
            network=network,
            public_key=key.public_key,
            protection=key.protection,
            wrapped=key.wrapped,
            master_key=key.master_key,
            mechanism=key.mechanism,
            imported=key.imported,
        )
        sealed = await self._sealed(copy)
        with self._faults("the key's copy is not in S3"):
            stored = await asyncio.to_thread(self._bucket.put_new, self._prefix + name, sealed)
        if stored.is_new:
            return key
        found = await self.read(key_id, name)
        if (found.key.algorithm, found.network) != (key.algorithm, network):
            raise _unusable(f"the copy of key {key_id} is of another kind of key than is wanted")
        return found.key

    async def read(self, key_id: UUID, name: str | None = None) -> KeyCopy:
        """Return the copy of a key, which this driver or a pinned one has signed.

        ``name``: of the object, without the prefix; None: the copy of when the key was new.
        """
        with self._faults(f"the copy of key {key_id} cannot be read"):
            place = self._prefix + (name or object_name(key_id))
            data = await asyncio.to_thread(self._bucket.get, place)
        try:
            signed = SignedBytes.model_validate_json(data)
            sealed = SealedCopy.model_validate_json(self._verified(key_id, signed))
            _require_of(key_id, sealed.key_id)
            document = await self._hsm.unseal(sealed.sealed_by, sealed.sealed, bound_to(key_id))
            copy = KeyCopy.model_validate_json(document)
        except ValidationError:
            raise _unusable(f"the copy of key {key_id} does not have the form of a copy") from None
        except MasterKeyMissing:
            raise
        except KeyUnusable as error:
            raise _unusable(f"the copy of key {key_id} does not open: {error.reason}") from None
        _require_of(key_id, copy.key_id)
        return copy

    def _verified(self, key_id: UUID, signed: SignedBytes) -> bytes:
        """Return the signed payload. Raise Failed unless a pinned driver has signed it."""
        signer = signed.signing_key_id
        if KEY_ID.fullmatch(signer) is None:
            raise _unusable(f"the copy of key {key_id} does not have the form of a copy")
        if signer not in self._pinned.ids:
            raise _unusable(
                f"the copy of key {key_id} is signed by {signer}, which is neither this driver's "
                f"identity key ({self._signer.key_id}) nor pinned. If {signer} is another driver "
                "of the group, or this driver's earlier key, add its public key (hsm-driver "
                "identity show) to [key_copies] driver_keys. If not, find out who writes to the "
                "bucket"
            )
        try:
            return self._pinned.open(KEY_COPY_TYPE, signed)
        except BadSignedBytes as error:
            raise _unusable(f"the copy of key {key_id} is forged or damaged: {error}") from None

    async def names(self) -> tuple[dict[UUID, list[str]], list[str]]:
        """Return the names of all copies by key, and the names of other objects.

        The first copy of a key is the one of its newest version. Only the other objects have the
        prefix.
        """
        with self._faults("the bucket of key copies cannot be listed"):
            names = await asyncio.to_thread(self._bucket.names)
        copies, strange = defaultdict[UUID, list[tuple[int, str]]](list), []
        for name in names:
            short = name.removeprefix(self._prefix)
            parts = NAME.fullmatch(short)
            key_id = None if parts is None else _key_id(parts[1])
            if parts is None or key_id is None:
                strange.append(name)
            else:
                copies[key_id].append((int(parts[2] or 0), short))
        ordered = {
            key_id: [name for _, name in sorted(found, reverse=True)]
            for key_id, found in copies.items()
        }
        return ordered, strange

    @contextmanager
    def _faults(self, consequence: str) -> Iterator[None]:
        try:
            yield
        except S3Fault as fault:
            if fault.kind is FaultKind.TOO_LARGE:
                raise _unusable(fault.what) from fault
            self._problem = f"{fault.what}: {fault.todo}"
            raise _missing(f"{consequence}: {fault.what}") from fault
        self._problem = None

    async def _sealed(self, copy: KeyCopy) -> bytes:
        sealed_by = await self._sealing_key()
        document = copy.model_dump_json().encode()
        sealed = await self._hsm.seal(sealed_by, document, bound_to(copy.key_id))
        payload = SealedCopy(key_id=copy.key_id, sealed_by=sealed_by, sealed=sealed)
        signed = self._signer.sign(KEY_COPY_TYPE, payload.model_dump_json().encode())
        return signed.model_dump_json().encode()

    async def _sealing_key(self) -> str:
        """Return the name of the token's newest key for host signing."""
        names = [
            name
            for name in await self._hsm.check_values()
            if name.rpartition("/")[0].endswith(HOST_SUFFIX)
        ]
        if not names:
            raise _unusable("the token has no key for host signing, which seals copies")
        return max(names, key=version_of)


def is_about_one_object(error: Failed) -> bool:
    """Return whether the server has refused one object, which may also be missing."""
    fault = error.__cause__
    return isinstance(fault, S3Fault) and fault.kind in (FaultKind.DENIED, FaultKind.REJECTED)


def object_name(key_id: UUID, version: int | None = None) -> str:
    """Return the name of a copy. ``version``: of the master key of a rewrapped key."""
    return f"{key_id}{'' if version is None else f'.{version}'}{SUFFIX}"


def version_of(master_key: str) -> int:
    """Return the version of a master key, as 2 of ``custody/2``."""
    return int(master_key.rpartition("/")[2])


def bound_to(key_id: UUID) -> bytes:
    """Return the associated data of a key's copy."""
    return tagged(Domain.KEY_COPY, key_id.bytes)


def _require_of(key_id: UUID, found: UUID) -> None:
    if found != key_id:
        raise _unusable(f"the copy of key {key_id} says that it is of {found}")


def _key_id(text: str) -> UUID | None:
    try:
        key_id = UUID(text)
    except ValueError:
        return None
    return key_id if str(key_id) == text else None


def _missing(what: str) -> Failed:
    return Failed("key_copy_missing", what, transient=True)


def _unusable(what: str) -> Failed:
    return Failed("key_copy_unusable", what)
