"""The attempts to extract keys with the PIN, and what the success of each means."""

from dataclasses import dataclass

from custody.runtime.checks import Status


@dataclass(frozen=True)
class Attempt:
    """An attempt; ``status``: of the check if the attempt succeeds with the newest master key.

    ``of_master_key``: the attempt is on master keys themselves, so also on a signer's.
    """

    name: str
    meaning: str
    todo: str
    status: Status = Status.FAIL
    of_master_key: bool = False


_NEXT_VERSION = (
    "Make a stronger master key: master-key generate, then adopt it. If the attempt succeeds "
    "there, too, this token violates PKCS#11: read docs/explanation/threat-model.md before you use "
    "the token."
)
_EXTRACTABLE = (
    "Expected of master-key generate --extractable, which some HSMs need for cloning. Where it "
    "was not wanted: master-key generate"
)
_REWRAPPABLE = (
    "Expected of master-key generate --rewrappable. Where it was not wanted: master-key generate"
)

ATTEMPTS = (
    Attempt(
        "read-master-key",
        "a master key's value can be read in the clear: every stored key is open",
        _NEXT_VERSION,
        of_master_key=True,
    ),
    Attempt(
        "wrap-master-key",
        "a master key can be wrapped by another key, and so taken out: every stored key is open",
        _EXTRACTABLE,
        Status.WARN,
        of_master_key=True,
    ),
    Attempt(
        "change-master-key",
        "the PIN holder can change what a master key may do, and then decrypt stored keys",
        _NEXT_VERSION,
        of_master_key=True,
    ),
    Attempt(
        "copy-master-key",
        "the PIN holder can copy a master key as one that may do more, and decrypt stored keys",
        _NEXT_VERSION,
        of_master_key=True,
    ),
    Attempt(
        "decrypt-stored-key",
        "a master key decrypts stored keys in the clear though it is not allowed to",
        _NEXT_VERSION,
    ),
    Attempt(
        "unwrap-readable",
        "a stored key can be unwrapped as one whose value can be read",
        _NEXT_VERSION,
    ),
    Attempt(
        "unwrap-public",
        "a stored key can be unwrapped as an object that needs no login",
        _NEXT_VERSION,
    ),
    Attempt(
        "unwrap-on-token",
        "a stored key can be unwrapped onto the token, where it signs without the database",
        _NEXT_VERSION,
    ),
    Attempt(
        "unwrap-as-secret",
        "a stored private key can be unwrapped as a secret key, to be read or derived from",
        _NEXT_VERSION,
    ),
    Attempt(
        "unwrap-as-other-type",
        "a stored key can be unwrapped as a private key of another type",
        _NEXT_VERSION,
    ),
    Attempt(
        "unwrap-for-other-use",
        "a stored key can be unwrapped for more than signing",
        _NEXT_VERSION,
    ),
    Attempt(
        "derive-by-unwrapped-key",
        "a stored key makes shared secrets by ECDH, with points that the PIN holder chooses",
        _NEXT_VERSION,
    ),
    Attempt(
        "unwrap-extractable",
        "a stored key can be unwrapped as extractable and wrapped by a key of the PIN holder's",
        _REWRAPPABLE,
        Status.WARN,
    ),
    Attempt(
        "change-unwrapped-key",
        "a key that is unwrapped to sign can be made readable or extractable, or be copied",
        _NEXT_VERSION,
    ),
)
