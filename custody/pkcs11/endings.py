"""What follows from a return code of PKCS#11, for every function that we call.

``ending`` is total: each function and each number have exactly one ending. Almost all follow from
the function's step and the code's kind. docs/reference/hsm-errors.md is made from these tables.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

from custody.pkcs11.return_codes import NUMBER_OF, Kind, kind_of


class Step(StrEnum):
    """The part of the work in which functions are called. Python shows the step, not the function.

    The value is the text of the reference page.
    """

    LOAD = "load the library"
    FIND_TOKEN = "find the token"  # noqa: S105 - an HSM's token, not a password
    OPEN = "open a session"
    LOG_IN = "log in"
    FIND_KEYS = "find the master keys"
    READ = "read an attribute"
    GENERATE = "generate a key"
    WRAP = "wrap a key"
    UNWRAP = "unwrap a key"
    SIGN = "sign"
    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    DESTROY = "destroy an object"
    CLOSE = "close the session"


FUNCTIONS: dict[Step, tuple[str, ...]] = {
    Step.LOAD: ("C_Initialize", "C_GetInfo"),
    Step.FIND_TOKEN: ("C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList"),
    Step.OPEN: ("C_OpenSession",),
    Step.LOG_IN: ("C_Login",),
    Step.FIND_KEYS: ("C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal"),
    Step.READ: ("C_GetAttributeValue",),
    Step.GENERATE: ("C_GenerateKey", "C_GenerateKeyPair"),
    Step.WRAP: ("C_WrapKey",),
    Step.UNWRAP: ("C_UnwrapKey",),
    Step.SIGN: ("C_SignInit", "C_Sign"),
    Step.ENCRYPT: ("C_EncryptInit", "C_Encrypt"),
    Step.DECRYPT: ("C_DecryptInit", "C_Decrypt"),
    Step.DESTROY: ("C_DestroyObject",),
    Step.CLOSE: ("C_Logout", "C_CloseSession", "C_Finalize"),
}
"""The functions of each step."""

STEP_OF = {function: step for step, functions in FUNCTIONS.items() for function in functions}


class WorkerDoes(StrEnum):
    KEPT = "continues"
    REPLACED = "ends; the daemon starts another one"
    REPLACED_AFTER = "answers, then ends; the daemon starts another one"
    TRIES_AGAIN = (
        "proves the master key and a new key of the same kind, then tries again: three tries"
    )
    CANNOT_START = "ends; the daemon starts another one after a pause of at most 30 s"
    STOPPED = "ends; no process logs in until the PIN file changes or somebody says --retry-pin"


class RequestGets(StrEnum):
    RELEASED = "its result"
    AGAIN = "another worker at once; if its session is lost too: a new attempt later"
    LATER = "a new attempt later"
    FAILED = "failed for good"
    AFTER_TRIES = (
        "its result if a try succeeds; failed for good if the proof succeeds each time and only "
        "this key fails each time in the same way; else a new attempt later"
    )
    AFTER_TRIES_LATER = "its result if a try succeeds; else a new attempt later, until it expires"
    WAITS = "another worker; without one, a new attempt later"


class Health(StrEnum):
    OK = "ok"
    FEWER = "degraded while no worker is left"


@dataclass(frozen=True)
class Facts:
    """``code``: of the request's failure, None if it has none. ``operator``: the next step."""

    worker: WorkerDoes
    request: RequestGets
    code: str | None
    health: Health
    operator: str


class Ending(Enum):
    """Every ending that a return code can have."""

    CONTINUED = Facts(
        WorkerDoes.KEPT, RequestGets.RELEASED, None, Health.OK, "Nothing needs to be done."
    )
    LOST = Facts(
        WorkerDoes.REPLACED,
        RequestGets.AGAIN,
        "hsm_unavailable",
        Health.FEWER,
        "If it repeats, check the connection to the HSM and the HSM's own log.",
    )
    BUSY = Facts(
        WorkerDoes.KEPT,
        RequestGets.LATER,
        "hsm_failure",
        Health.OK,
        "If it repeats, give the driver fewer workers, or find out what else uses the HSM.",
    )
    MISCONFIGURED = Facts(
        WorkerDoes.KEPT,
        RequestGets.LATER,
        "hsm_misconfigured",
        Health.OK,
        "Allow the named mechanism or attribute in the HSM, or run doctor and correct [hsm].",
    )
    DATA_REFUSED = Facts(
        WorkerDoes.KEPT,
        RequestGets.FAILED,
        "data_refused",
        Health.OK,
        "Sign shorter data: the HSM takes no data of this length.",
    )
    NOT_WRAPPABLE = Facts(
        WorkerDoes.KEPT,
        RequestGets.FAILED,
        "key_not_wrappable",
        Health.OK,
        "Have the HSM's policy allow wrapping private keys with the master key; doctor tries it.",
    )
    CURVE_REFUSED = Facts(
        WorkerDoes.KEPT,
        RequestGets.FAILED,
        "curve_not_supported",
        Health.OK,
        "Use an algorithm that doctor shows, or an HSM whose firmware does this curve.",
    )
    KEY_TRIED = Facts(
        WorkerDoes.TRIES_AGAIN,
        RequestGets.AFTER_TRIES,
        "key_unusable",
        Health.OK,
        "If the key is unusable, restore its row: the database's backup, or the wrapped-key copy.",
    )
    TEMPLATE_TRIED = Facts(
        WorkerDoes.TRIES_AGAIN,
        RequestGets.AFTER_TRIES,
        "hsm_misconfigured",
        Health.OK,
        "Allow the named mechanism or attribute in the HSM, or run doctor and correct [hsm].",
    )
    DEVICE_TRIED = Facts(
        WorkerDoes.TRIES_AGAIN,
        RequestGets.AFTER_TRIES_LATER,
        "hsm_failure",
        Health.OK,
        "If one key alone gets it, compare its row with a backup. Else see the HSM's own log.",
    )
    LEAKED = Facts(
        WorkerDoes.REPLACED_AFTER,
        RequestGets.RELEASED,
        None,
        Health.FEWER,
        "If it repeats, look at the HSM's free memory: the object goes when the session ends.",
    )
    NOT_LOADED = Facts(
        WorkerDoes.CANNOT_START,
        RequestGets.WAITS,
        "hsm_unavailable",
        Health.FEWER,
        "See whether the library is this machine's architecture and finds its own configuration.",
    )
    NO_TOKEN = Facts(
        WorkerDoes.CANNOT_START,
        RequestGets.WAITS,
        "hsm_unavailable",
        Health.FEWER,
        "Check the HSM's connection, and module and token_label in the configuration.",
    )
    NO_SESSION = Facts(
        WorkerDoes.CANNOT_START,
        RequestGets.WAITS,
        "hsm_unavailable",
        Health.FEWER,
        "Check whether the token has sessions left, and the HSM's connection.",
    )
    NO_LOGIN = Facts(
        WorkerDoes.CANNOT_START,
        RequestGets.WAITS,
        "hsm_unavailable",
        Health.FEWER,
        "Check the HSM's connection. The PIN is tried again: the token did not judge it.",
    )
    PIN_REFUSED = Facts(
        WorkerDoes.STOPPED,
        RequestGets.WAITS,
        "hsm_unavailable",
        Health.FEWER,
        "Put the right PIN into the PIN file: once the file has changed, it is tried again.",
    )
    LOGIN_STOPPED = Facts(
        WorkerDoes.STOPPED,
        RequestGets.WAITS,
        "hsm_unavailable",
        Health.FEWER,
        "See in the vendor's tool whether the user PIN is set, locked or expired. Then write the "
        "PIN file again, or run, with the token's name: master-key check --token NAME --retry-pin",
    )
    NO_KEYS = Facts(
        WorkerDoes.CANNOT_START,
        RequestGets.WAITS,
        "hsm_unavailable",
        Health.FEWER,
        "Run the doctor command: it shows step by step what the token can do.",
    )

    @property
    def facts(self) -> Facts:
        return self.value


def _at_work(**others: Ending) -> dict[Kind, Ending]:
    """Return the endings of a step of an operation; ``others`` by the names of kinds."""
    usual = {
        **dict.fromkeys(Kind, Ending.LOST),
        Kind.BUSY: Ending.BUSY,
        Kind.CONFIGURATION: Ending.MISCONFIGURED,
    }
    return usual | {Kind[name]: ending for name, ending in others.items()}


_OPENED = _at_work(
    DEVICE=Ending.DEVICE_TRIED,
    UNCLEAR=Ending.KEY_TRIED,
    BUSY=Ending.KEY_TRIED,
    CIPHERTEXT=Ending.KEY_TRIED,
    DATA=Ending.KEY_TRIED,
    NOT_WRAPPABLE=Ending.KEY_TRIED,
    CONFIGURATION=Ending.TEMPLATE_TRIED,
)

RULES: dict[Step, dict[Kind, Ending]] = {
    Step.LOAD: dict.fromkeys(Kind, Ending.NOT_LOADED),
    Step.FIND_TOKEN: dict.fromkeys(Kind, Ending.NO_TOKEN),
    Step.OPEN: dict.fromkeys(Kind, Ending.NO_SESSION),
    Step.LOG_IN: {
        **dict.fromkeys(Kind, Ending.LOGIN_STOPPED),
        Kind.SESSION: Ending.NO_LOGIN,
        Kind.DEVICE: Ending.NO_LOGIN,
        Kind.PIN: Ending.PIN_REFUSED,
    },
    Step.FIND_KEYS: dict.fromkeys(Kind, Ending.NO_KEYS),
    Step.READ: dict.fromkeys(Kind, Ending.LOST),
    Step.GENERATE: _at_work(CURVE=Ending.CURVE_REFUSED),
    Step.WRAP: _at_work(NOT_WRAPPABLE=Ending.NOT_WRAPPABLE, DATA=Ending.DATA_REFUSED),
    Step.UNWRAP: _OPENED | {Kind.CURVE: Ending.CURVE_REFUSED},
    Step.SIGN: _at_work(DATA=Ending.DATA_REFUSED, CURVE=Ending.CURVE_REFUSED),
    Step.ENCRYPT: _at_work(DATA=Ending.DATA_REFUSED),
    Step.DECRYPT: _OPENED,
    Step.DESTROY: dict.fromkeys(Kind, Ending.LEAKED),
    Step.CLOSE: dict.fromkeys(Kind, Ending.CONTINUED),
}

EXCEPTIONS: dict[tuple[Step, int], Ending] = {
    (Step.LOG_IN, NUMBER_OF["CKR_USER_ALREADY_LOGGED_IN"]): Ending.CONTINUED,
}
"""Endings that do not follow from the step and the kind."""


def ending(step: Step, number: int) -> Ending:
    """Return what follows when a function of the step returns the number, which is not CKR_OK."""
    exception = EXCEPTIONS.get((step, number))
    return RULES[step][kind_of(number)] if exception is None else exception
