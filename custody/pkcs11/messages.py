"""The messages between the daemon and its worker processes: length-prefixed JSON.

Never pickle: the worker holds a vendor's library, and what it sends is only ever data.
"""

import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from custody.pkcs11.endings import Step
from custody.pkcs11.token_traits import DEFAULT_TRAITS, TokenTraits
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Algorithm, Protection
from custody.wire.framing import Domain, tagged_hash
from custody.wire.imports import Wrapping

HEADER = struct.Struct("!I")
MAX_FRAME = 64 * 1024 * 1024
DEFAULT_CACHED_KEYS_SECONDS = 60.0
DEFAULT_START_SECONDS = 30.0


class Message(BaseModel):
    """Base of all messages: bytes travel as base64."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64"
    )


class Capability(Message):
    """The probed way to make and keep keys of one algorithm: a mechanism.

    ``unwrapped_without``: PKCS#11 attributes that the token refuses when it unwraps such a key.
    """

    algorithm: Algorithm
    protection: Protection
    mechanism: str
    unwrapped_without: list[str] = []


class PinStanding(StrEnum):
    """The history of a PIN before a try: how careful to be with the token's counter."""

    PROVEN = "proven"  # it has worked: logging in sets the token's count of wrong ones back
    NEW = "new"
    UNANSWERED = "unanswered"  # an earlier try had no answer, so it may have been counted as wrong


class RestoredKey(Message):
    """A key that the configuration names as restored from a backup: its 32-byte check value.

    ``extractable``: the key was made with `master-key generate --extractable`.
    """

    check_value: bytes
    extractable: bool = False


class KeyProof(Message):
    """Known bytes under a key of the token: the key that opens them is the key of before.

    Of a key that wraps: ``wrapped`` is the private key of ``public_key``, wrapped by ``mechanism``.
    ``unwrapped_without`` is as in Capability. Of a key that encrypts: ``wrapped`` is a fixed text
    under AES-GCM, and the proof has no algorithm and no public key.
    """

    mechanism: str
    algorithm: Algorithm | None = None
    public_key: bytes = b""
    wrapped: bytes
    unwrapped_without: list[str] = []

    @property
    def value(self) -> bytes:
        """Return the 32 bytes that name the proof, in audit records and configurations."""
        return proof_value(
            self.mechanism, self.algorithm, self.public_key, self.wrapped, self.unwrapped_without
        )


def proof_value(
    mechanism: str,
    algorithm: Algorithm | None,
    public_key: bytes,
    wrapped: bytes,
    unwrapped_without: Sequence[str],
) -> bytes:
    """Return SHA-256 of all that a proof proves with."""
    return tagged_hash(
        Domain.KEY_PROOF,
        mechanism.encode(),
        b"" if algorithm is None else str(algorithm).encode(),
        public_key,
        wrapped,
        *(name.encode() for name in unwrapped_without),
    )


class KnownKey(Message):
    """A key that the database knows, with all that can show that the token's key is this one.

    ``name``: as ``custody/1``; None if the database does not say. ``proofs``: any of them is
    enough. ``stored_keys``: some keys that it wraps, for a database of before the proofs.
    """

    name: str | None
    check_value: bytes
    proofs: list[KeyProof] = []
    stored_keys: list[WrappedKey] = []
    retired: bool = False


WHY_RETIRED = (
    "the database has it as retired. Delete it with the vendor's tool once each driver was "
    "restarted, or use it again: hsm-driver master-key adopt"
)
"""Why a retired master key, which may stay on the token, is a stranger."""


class Stranger(Message):
    """A key under one of our labels that is not ours. ``why``: for people.

    ``is_weaker``: only because it is weaker than the token can make it, or could not be judged.
    """

    name: str
    why: str
    is_weaker: bool = False


class Hello(Message):
    """The first message to a worker: where to log in, and what it must find there.

    ``known``: the keys that the database knows. Only these are used, and with ``accept_new`` also
    others, which the database may then learn. ``check_values`` names the master keys that must be
    on the token, as an earlier worker of this token found them; None to the first worker, which
    reports what there is. ``capabilities`` likewise. ``judge``: refuse a weaker key
    (custody.pkcs11.strength); False to later workers, which prove that they use the judged
    keys. ``start_seconds``: after so long without an answer to this message the daemon kills the
    worker. ``slot``: where an earlier worker found the token, which is asked first. ``hung_slots``:
    slots that are not asked, because they did not answer before.
    ``restored`` and all that follows it: as in HsmSettings.
    """

    module: str
    token_label: str
    pin: str = Field(repr=False)
    pin_standing: PinStanding
    master_key_label: str
    host_signing: list[Algorithm]
    purpose: Literal["operations", "administration"]
    known: list[KnownKey] = []
    accept_new: bool = True
    check_values: dict[str, bytes] | None = None
    capabilities: list[Capability] | None = None
    judge: bool = True
    start_seconds: float = DEFAULT_START_SECONDS
    slot: int | None = None
    hung_slots: list[int] = []
    restored: list[RestoredKey] = []
    weaker: list[bytes] = []
    accept_weaker: bool = False
    only_encrypting: bool = False
    traits: TokenTraits = DEFAULT_TRAITS
    cached_keys: int = 0
    cached_keys_seconds: float = DEFAULT_CACHED_KEYS_SECONDS


class Ready(Message):
    """The worker has logged in and proved the master keys.

    ``check_values``: of the keys in use, by name. ``proofs``: the proof that each of these opens.
    ``new_proofs``: the names of those that the database does not have. ``weak``: of the accepted
    keys, those that are weaker than the token can make them, or not judged, and why. ``slot``: the
    token's. ``hung_slots``: as in Hello.
    """

    kind: Literal["ready"] = "ready"
    token: str
    check_values: dict[str, bytes]
    proofs: dict[str, KeyProof] = {}
    new_proofs: list[str] = []
    weak: dict[str, str] = {}
    strangers: list[Stranger] = []
    capabilities: list[Capability]
    slot: int | None = None
    hung_slots: list[int] = []


class Obstacle(StrEnum):
    """The failure that kept a worker from starting.

    PIN: the token refused it. LOGIN: no login was tried. LOGIN_UNJUDGED: the token was gone before
    it judged the PIN. LOGIN_STOPPED: the token may have counted the login as a wrong PIN.
    """

    MODULE = "module"
    TOKEN = "token"  # noqa: S105 - an HSM's token, not a password
    SESSION = "session"
    PIN = "pin"
    LOGIN = "login"
    LOGIN_UNJUDGED = "login_unjudged"
    LOGIN_STOPPED = "login_stopped"
    MASTER_KEY = "master_key"
    MECHANISM = "mechanism"


class StartFailed(Message):
    """The worker ends itself. ``todo`` is the operator's next step."""

    kind: Literal["start_failed"] = "start_failed"
    obstacle: Obstacle
    what: str
    todo: str


class Asking(Message):
    """The worker is about to ask a slot for its token, and may get no answer.

    ``slot`` is None once the token has been found; ``skipped`` then says which slots failed, and
    how.
    """

    kind: Literal["asking"] = "asking"
    slot: int | None
    skipped: list[str] = []


Started = Annotated[Ready | StartFailed | Asking, Field(discriminator="kind")]


class Generate(Message):
    """Make a key, wrapped by the newest master key."""

    kind: Literal["generate"] = "generate"
    algorithm: Algorithm


class Sign(Message):
    """Sign a 32-byte digest (ECDSA) or a message (Ed25519).

    ``not_after``: seconds since 1970 by this host's clock, from which on it is not begun.
    """

    kind: Literal["sign"] = "sign"
    key: WrappedKey
    data: bytes
    not_after: float | None = None


class Seal(Message):
    """Encrypt a secret by the named key, which encrypts host keys."""

    kind: Literal["seal"] = "seal"
    master_key: str
    secret: bytes = Field(repr=False)
    associated_data: bytes


class Unseal(Message):
    """Decrypt what Seal made, under the same associated data."""

    kind: Literal["unseal"] = "unseal"
    master_key: str
    sealed: bytes
    associated_data: bytes


class Rewrap(Message):
    """Wrap a stored key by another master key of the token. ``to``: the name of that key."""

    kind: Literal["rewrap"] = "rewrap"
    key: WrappedKey
    to: str


class MakeImportKey(Message):
    """Make the one-time key of an import on the token, for a key of the algorithm.

    ``owner``: the end of the label, by which driver groups on one token tell their import keys.
    """

    kind: Literal["make_import_key"] = "make_import_key"
    owner: str
    import_id: UUID
    algorithm: Algorithm


class ImportKey(Message):
    """Take in a private key that is encrypted to the import key ``import_key``.

    ``public_key``: that of the private key, as the application announced it.
    """

    kind: Literal["import_key"] = "import_key"
    owner: str
    import_id: UUID
    import_key: bytes
    wrapping: Wrapping
    algorithm: Algorithm
    protection: Protection
    public_key: bytes
    wrapped: bytes = Field(repr=False)


class ListImportKeys(Message):
    """The owner's imports that have a key on the token; with ``others`` those of other owners."""

    kind: Literal["list_import_keys"] = "list_import_keys"
    owner: str
    others: bool = False


class RemoveImportKeys(Message):
    """Destroy the keys of the owner's imports; with ``others`` of other owners' imports."""

    kind: Literal["remove_import_keys"] = "remove_import_keys"
    owner: str
    others: bool = False
    import_ids: list[UUID]


class TryImport(Message):
    """Open a made-up key of each algorithm with an import key of the session."""

    kind: Literal["try_import"] = "try_import"
    capabilities: list[Capability]


class MakeMasterKey(Message):
    """Generate the next version of the master key and its second key for host signing.

    The version is above those on the token, and above ``above``.
    """

    kind: Literal["make_master_key"] = "make_master_key"
    rewrappable: bool
    extractable: bool
    above: int = 0


class ListMasterKeys(Message):
    """Every version with its check value and attributes."""

    kind: Literal["list_master_keys"] = "list_master_keys"


class Probe(Message):
    """Find out the capabilities by doing."""

    kind: Literal["probe"] = "probe"


class Extract(Message):
    """Really try one of the extractions (custody.pkcs11.extraction.ATTEMPTS)."""

    kind: Literal["extract"] = "extract"
    attempt: str


class KeepAlive(Message):
    """Ask the HSM for something, so that a session is neither dropped as idle nor dead unseen."""

    kind: Literal["keep_alive"] = "keep_alive"


TWIN_STEP = "looser twin of a master key"
"""The name of the only step of TrialPart.TWIN."""
REWRAP_STEP = "rewrap from "
"""The names of the steps of TrialPart.REWRAP begin so. The name of a master key follows."""


class TrialPart(StrEnum):
    """The parts of a trial. Each runs in a worker of its own, which it may end."""

    TOKEN = "token"  # noqa: S105 - an HSM's token, not a password
    SETTINGS = "settings"
    SESSIONS = "sessions"
    SCHEMES = "schemes"
    HARDENING = "hardening"
    PROOFS = "proofs"
    TWIN = "twin"
    REWRAP = "rewrap"


class TryToken(Message):
    """Try one part of what a driver needs (custody.pkcs11.trial)."""

    kind: Literal["try_token"] = "try_token"
    part: TrialPart


Operation = (
    KeepAlive
    | Generate
    | Sign
    | Seal
    | Unseal
    | Rewrap
    | MakeImportKey
    | ImportKey
    | ListImportKeys
    | RemoveImportKeys
    | TryImport
    | MakeMasterKey
    | ListMasterKeys
    | Probe
    | Extract
    | TryToken
)


class Operations(Message):
    """Operations that a worker does one after the other, and answers together."""

    operations: list[Annotated[Operation, Field(discriminator="kind")]]


class Failure(Message):
    """An operation has no result. ``code``: the code of a class in custody.pkcs11.errors."""

    kind: Literal["failure"] = "failure"
    code: str
    reason: str


class Lost(Message):
    """The session is gone, and the worker with it; the operation can run in another."""

    kind: Literal["lost"] = "lost"
    reason: str


class Signed(Message):
    kind: Literal["signed"] = "signed"
    signature: bytes


class Generated(Message):
    kind: Literal["generated"] = "generated"
    key: WrappedKey


class ImportKeyMade(Message):
    """``import_key``: the public half, a SubjectPublicKeyInfo in DER."""

    kind: Literal["import_key_made"] = "import_key_made"
    import_key: bytes
    wrapping: Wrapping
    protection: Protection


class ImportKeys(Message):
    """The imports that have a key on the token; after RemoveImportKeys, those that are left."""

    kind: Literal["import_keys"] = "import_keys"
    import_ids: list[UUID]


class ImportTried(Message):
    """``ways``: how keys of each algorithm can be imported. ``refusals``: why others cannot."""

    kind: Literal["import_tried"] = "import_tried"
    ways: dict[str, Wrapping]
    refusals: dict[str, str] = {}


class Alive(Message):
    """The HSM has answered."""

    kind: Literal["alive"] = "alive"


class Sealed(Message):
    kind: Literal["sealed"] = "sealed"
    sealed: bytes


class Unsealed(Message):
    kind: Literal["unsealed"] = "unsealed"
    secret: bytes = Field(repr=False)


class Rewrapped(Message):
    """The same key under the other master key. Nobody has proved it yet."""

    kind: Literal["rewrapped"] = "rewrapped"
    key: WrappedKey


class MasterKeyRecord(Message):
    """One AES key of ours on the token.

    ``check_value`` has 32 bytes; None if neither the database knows the key nor the token computes
    the value. ``pins``: the values by which the configuration can name the key, the best first.
    ``new_proof``: a proof of a known key that the database does not have. ``adopted``: whether the
    database knows the key; None if it was not asked. ``copyable`` is None on a token that does not
    know this attribute.
    """

    name: str
    label: str
    version: int
    check_value: bytes | None
    pins: list[bytes] = []
    new_proof: KeyProof | None = None
    adopted: bool | None = None
    purpose: Literal["wraps keys", "encrypts host keys"]
    made_inside: bool
    sensitive: bool
    extractable: bool
    modifiable: bool
    copyable: bool | None

    @property
    def short_value(self) -> str:
        """Return the beginning of the check value, for people."""
        return "unknown" if self.check_value is None else f"{self.check_value.hex()[:16]}…"


class MasterKeys(Message):
    """``left_out``: the attributes of a new master key that the token refused, with its answers."""

    kind: Literal["master_keys"] = "master_keys"
    keys: list[MasterKeyRecord]
    strangers: list[Stranger] = []
    left_out: list[str] = []


class Probed(Message):
    """``why_not`` says for each algorithm that the token cannot do inside what refused it.

    ``master_key_refuses``: the algorithms that the token could do with another master key, each
    with the wrap mechanism of that key.
    """

    kind: Literal["probed"] = "probed"
    capabilities: list[Capability]
    why_not: dict[str, str]
    master_key_refuses: dict[str, str] = {}


class Extracted(Message):
    """Outcome of one attempt at extraction.

    ``succeeded``: how it succeeded, by the name of the master key; empty is good news.
    ``refusals``: what the token answered elsewhere. ``newest``: the newest master key's name.
    ``untried``: the master keys on which there was nothing to try.
    """

    kind: Literal["extracted"] = "extracted"
    newest: str
    succeeded: dict[str, str]
    refusals: list[str]
    untried: list[str] = []


class Outcome(StrEnum):
    """What came of a step: SAID is what the token says of itself."""

    SAID = "-"
    WORKS = "works"
    REFUSED = "refused"
    FAILED = "failed"


class TriedStep(Message):
    """One step of a trial. ``detail`` has no secret."""

    name: str
    outcome: Outcome
    detail: str


class Tried(Message):
    """The steps of one part, in order."""

    kind: Literal["tried"] = "tried"
    steps: list[TriedStep]


Answer = (
    Alive
    | Failure
    | Lost
    | Signed
    | Generated
    | Sealed
    | Unsealed
    | Rewrapped
    | ImportKeyMade
    | ImportKeys
    | ImportTried
    | MasterKeys
    | Probed
    | Extracted
    | Tried
)


class Fault(Message):
    """The token answered a function of the step with this code, which is not CKR_OK."""

    step: Step
    code: int


class Answers(Message):
    """The answers, in the order of the operations.

    ``faults``: errors of the token meanwhile. ``ends_because``: why the worker now ends, although
    it has answered; None if it continues.
    """

    answers: list[Annotated[Answer, Field(discriminator="kind")]]
    faults: list[Fault] = []
    ends_because: str | None = None


class StartAnswer(Message):
    """The worker's messages until it has started: any number of Asking, then another one."""

    started: Started


def frame(message: Message) -> bytes:
    """Return a message with its length in front."""
    body = message.model_dump_json().encode()
    return HEADER.pack(len(body)) + body
