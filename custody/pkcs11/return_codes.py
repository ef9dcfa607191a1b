"""The return codes of PKCS#11 and what each means: one kind for every number.

Names and numbers: PKCS#11 3.1 (OASIS), section 5.1 and header file, and PKCS#11 3.2 for the codes
that it adds. No process that only reads the table loads python-pkcs11.
"""

from enum import StrEnum

VENDOR_DEFINED = 0x80000000
"""Codes from this number on are the vendor's own (CKR_VENDOR_DEFINED)."""


class Kind(StrEnum):
    """What a code says, wherever it comes from. The value is the text of the reference page."""

    SESSION = "the session, the token or the library is gone"
    DEVICE = "the token says that it failed; some tokens say this of damaged data too"
    UNCLEAR = "says nothing certain about the cause"
    BUSY = "the token does not do it now"
    CONFIGURATION = "the token does not do it with this mechanism or these attributes"
    DATA = "the token does not take this data"
    NOT_WRAPPABLE = "the token does not let this key out, even wrapped"
    CURVE = "the token does not do this curve"
    CIPHERTEXT = "the token does not take what it should decrypt"
    PIN = "the token refuses the PIN"
    LOGIN = "the token lets nobody log in in this way"


NAMES: dict[Kind, dict[int, str]] = {
    Kind.SESSION: {
        0x02: "HOST_MEMORY",
        0x03: "SLOT_ID_INVALID",
        0x09: "NEED_TO_CREATE_THREADS",
        0x0A: "CANT_LOCK",
        0x31: "DEVICE_MEMORY",
        0x32: "DEVICE_REMOVED",
        0x60: "KEY_HANDLE_INVALID",
        0x82: "OBJECT_HANDLE_INVALID",
        0x90: "OPERATION_ACTIVE",
        0x91: "OPERATION_NOT_INITIALIZED",
        0xB0: "SESSION_CLOSED",
        0xB1: "SESSION_COUNT",
        0xB3: "SESSION_HANDLE_INVALID",
        0xE0: "TOKEN_NOT_PRESENT",
        0xE1: "TOKEN_NOT_RECOGNIZED",
        0xF0: "UNWRAPPING_KEY_HANDLE_INVALID",
        0x101: "USER_NOT_LOGGED_IN",
        0x113: "WRAPPING_KEY_HANDLE_INVALID",
        0x150: "BUFFER_TOO_SMALL",  # leaves the operation active
        0x190: "CRYPTOKI_NOT_INITIALIZED",
        0x191: "CRYPTOKI_ALREADY_INITIALIZED",
        0x1A0: "MUTEX_BAD",
        0x1A1: "MUTEX_NOT_LOCKED",
        0x1B7: "LIBRARY_LOAD_FAILED",
        0x202: "OPERATION_CANCEL_FAILED",
        0x208: "TOKEN_NOT_INITIALIZED",
    },
    Kind.DEVICE: {0x30: "DEVICE_ERROR"},
    Kind.UNCLEAR: {
        0x01: "CANCEL",
        0x05: "GENERAL_ERROR",
        0x06: "FUNCTION_FAILED",
        0x07: "ARGUMENTS_BAD",
        0x08: "NO_EVENT",
        0x51: "FUNCTION_NOT_PARALLEL",
        0xB4: "SESSION_PARALLEL_NOT_SUPPORTED",
        0xC0: "SIGNATURE_INVALID",
        0xC1: "SIGNATURE_LEN_RANGE",
        0x121: "RANDOM_NO_RNG",
        0x160: "SAVED_STATE_INVALID",
        0x170: "INFORMATION_SENSITIVE",
        0x180: "STATE_UNSAVEABLE",
        0x1B0: "NEW_PIN_MODE",
        0x1B1: "NEXT_OTP",
        0x1B5: "EXCEEDED_MAX_ITERATIONS",
        0x1B6: "FIPS_SELF_TEST_FAILED",
        0x1B9: "PUBLIC_KEY_INVALID",
        0x206: "SEED_RANDOM_REQUIRED",
    },
    Kind.BUSY: {
        0x50: "FUNCTION_CANCELED",
        0x200: "FUNCTION_REJECTED",
        0x201: "TOKEN_RESOURCE_EXCEEDED",
        0x204: "PENDING",
    },
    Kind.CONFIGURATION: {
        0x10: "ATTRIBUTE_READ_ONLY",
        0x11: "ATTRIBUTE_SENSITIVE",
        0x12: "ATTRIBUTE_TYPE_INVALID",
        0x13: "ATTRIBUTE_VALUE_INVALID",
        0x1B: "ACTION_PROHIBITED",
        0x54: "FUNCTION_NOT_SUPPORTED",
        0x62: "KEY_SIZE_RANGE",
        0x63: "KEY_TYPE_INCONSISTENT",
        0x64: "KEY_NOT_NEEDED",
        0x65: "KEY_CHANGED",
        0x66: "KEY_NEEDED",
        0x67: "KEY_INDIGESTIBLE",
        0x68: "KEY_FUNCTION_NOT_PERMITTED",
        0x70: "MECHANISM_INVALID",
        0x71: "MECHANISM_PARAM_INVALID",
        0xB5: "SESSION_READ_ONLY",
        0xB6: "SESSION_EXISTS",
        0xB7: "SESSION_READ_ONLY_EXISTS",
        0xB8: "SESSION_READ_WRITE_SO_EXISTS",
        0xD0: "TEMPLATE_INCOMPLETE",
        0xD1: "TEMPLATE_INCONSISTENT",
        0xE2: "TOKEN_WRITE_PROTECTED",
        0xF1: "UNWRAPPING_KEY_SIZE_RANGE",
        0xF2: "UNWRAPPING_KEY_TYPE_INCONSISTENT",
        0x114: "WRAPPING_KEY_SIZE_RANGE",
        0x115: "WRAPPING_KEY_TYPE_INCONSISTENT",
        0x120: "RANDOM_SEED_NOT_SUPPORTED",
        0x203: "KEY_EXHAUSTED",
        0x205: "SESSION_ASYNC_NOT_SUPPORTED",
        0x207: "OPERATION_NOT_VALIDATED",
        0x209: "PARAMETER_SET_NOT_SUPPORTED",
    },
    Kind.DATA: {0x20: "DATA_INVALID", 0x21: "DATA_LEN_RANGE"},
    Kind.NOT_WRAPPABLE: {0x69: "KEY_NOT_WRAPPABLE", 0x6A: "KEY_UNEXTRACTABLE"},
    Kind.CURVE: {0x130: "DOMAIN_PARAMS_INVALID", 0x140: "CURVE_NOT_SUPPORTED"},
    Kind.CIPHERTEXT: {
        0x40: "ENCRYPTED_DATA_INVALID",
        0x41: "ENCRYPTED_DATA_LEN_RANGE",
        0x42: "AEAD_DECRYPT_FAILED",
        0x110: "WRAPPED_KEY_INVALID",
        0x112: "WRAPPED_KEY_LEN_RANGE",
    },
    Kind.PIN: {0xA0: "PIN_INCORRECT", 0xA1: "PIN_INVALID", 0xA2: "PIN_LEN_RANGE"},
    Kind.LOGIN: {
        0xA3: "PIN_EXPIRED",
        0xA4: "PIN_LOCKED",
        0x100: "USER_ALREADY_LOGGED_IN",
        0x102: "USER_PIN_NOT_INITIALIZED",
        0x103: "USER_TYPE_INVALID",
        0x104: "USER_ANOTHER_ALREADY_LOGGED_IN",
        0x105: "USER_TOO_MANY_TYPES",
        0x1B8: "PIN_TOO_WEAK",
    },
}
"""Every code of the standard, under its kind, without the prefix ``CKR_``."""

_KINDS = {number: kind for kind, names in NAMES.items() for number in names}
NAME_OF = {number: f"CKR_{name}" for names in NAMES.values() for number, name in names.items()}
NUMBER_OF = {name: number for number, name in NAME_OF.items()}
"""The number of each name, with the prefix ``CKR_``."""

CANNOT = frozenset({Kind.CONFIGURATION, Kind.DATA, Kind.NOT_WRAPPABLE, Kind.CURVE, Kind.CIPHERTEXT})
"""Kinds that say that the token cannot do a thing. All others may pass."""


def kind_of(number: int) -> Kind:
    """Return the kind of a code. Codes of a vendor and unknown codes are unclear."""
    return _KINDS.get(number, Kind.UNCLEAR)


def code_name(number: int) -> str:
    """Return the name of a code, for people."""
    if number in NAME_OF:
        return NAME_OF[number]
    whose = "the vendor's code" if number >= VENDOR_DEFINED else "an unknown code"
    return f"{whose} {number:#x}"
