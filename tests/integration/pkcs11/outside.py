"""PKCS#11 from outside the driver, in a process of its own: what an operator or attacker does."""

import json
import subprocess
import sys
from typing import Any

from softhsm.tokens import TokenFolder
from tests.providers.tokens import Tokens

LABEL = "custody"

_PRELUDE = """
import json, sys
import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, TokenFlag
module, label, pin = sys.argv[1:4]
token = pkcs11.lib(module).get_token(token_label=label)
"""


def run(tokens: Tokens, code: str, pin: str | None = None, label: str = LABEL) -> Any:
    """Run some lines that end by printing JSON."""
    right = tokens.pin_file(label).read_text()
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + code, tokens.module, label, pin or right],
        env=tokens.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counts_a_wrong_pin(tokens: TokenFolder) -> bool:
    """Whether a wrong PIN was tried since the last right one."""
    found = run(tokens, "print(json.dumps(bool(token.flags & TokenFlag.USER_PIN_COUNT_LOW)))")
    return bool(found)


def log_in(tokens: TokenFolder, pin: str) -> None:
    """With the right PIN: sets the token's count of wrong ones back."""
    run(tokens, "token.open(user_pin=pin).close(); print('true')", pin)


def change_pin(tokens: TokenFolder, new: str) -> None:
    run(
        tokens,
        f"token.open(rw=True, user_pin=pin).set_pin(pin, {new!r}); print('true')",
    )


def objects(tokens: Tokens) -> list[str]:
    """Labels of everything stored on the token."""
    labels: list[str] = run(
        tokens,
        """
labels = []
for each in token.open(user_pin=pin).get_objects():
    try:
        labels.append(each[Attribute.LABEL])
    except pkcs11.exceptions.AttributeTypeInvalid:
        pass  # an object of the token itself, as Kryoptic has
print(json.dumps(sorted(labels)))
""",
    )
    return labels


def make_weak_master_key(tokens: TokenFolder) -> None:
    """As somebody without our template would: sensitive and not extractable, and no more."""
    run(
        tokens,
        """
session = token.open(rw=True, user_pin=pin)
session.generate_key(
    KeyType.AES, 256, label="custody", id=(1).to_bytes(4), store=True,
    capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
    template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
)
print("true")
""",
    )


def make_first_version(tokens: TokenFolder) -> None:
    """As ``master-key generate`` made it before it fixed more than two of the attributes."""
    run(
        tokens,
        """
from custody.pkcs11.attributes import NestedAttributeMapper
session = token.open(rw=True, user_pin=pin, attribute_mapper=NestedAttributeMapper())
closed = {
    Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False, Attribute.COPYABLE: False,
}
inner = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
for label, capabilities, more in (
    ("custody", MechanismFlag.WRAP | MechanismFlag.UNWRAP, {Attribute.UNWRAP_TEMPLATE: inner}),
    ("custody-host", MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT, {}),
):
    session.generate_key(
        KeyType.AES, 256, label=label, id=(1).to_bytes(4), store=True,
        capabilities=capabilities, template={**closed, **more},
    )
print("true")
""",
    )


def leave_behind(tokens: TokenFolder, label: str) -> None:
    """An object on the token as an attempt leaves it that is killed in the middle."""
    run(
        tokens,
        f"""
session = token.open(rw=True, user_pin=pin)
session.generate_key(
    KeyType.AES, 256, label={label!r}, store=True, template={{Attribute.PRIVATE: False}}
)
print("true")
""",
    )


def put_in_master_key(tokens: TokenFolder, version: int) -> None:
    """A key whose value is known outside, under our label: with the PIN, anybody can do that."""
    run(
        tokens,
        f"""
session = token.open(rw=True, user_pin=pin)
session.create_object({{
    Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
    Attribute.VALUE: bytes(32), Attribute.LABEL: "custody", Attribute.TOKEN: True,
    Attribute.ID: ({version}).to_bytes(4), Attribute.PRIVATE: True, Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False, Attribute.WRAP: True, Attribute.UNWRAP: True,
    Attribute.MODIFIABLE: False,
}})
print("true")
""",
    )


def take_out_master_keys(tokens: TokenFolder, label: str = LABEL) -> dict[str, str]:
    """Values of the newest extractable master keys, in hex by label, by wrapping them out."""
    values: dict[str, str] = run(
        tokens,
        f"""
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
session = token.open(rw=True, user_pin=pin)
own = session.create_object({{
    Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
    Attribute.VALUE: bytes(32), Attribute.TOKEN: False, Attribute.WRAP: True,
}})
values = {{}}
for label in ({label!r}, {label + "-host"!r}):
    (key,) = session.get_objects({{Attribute.LABEL: label}})
    wrapped = own.wrap_key(key, mechanism=pkcs11.Mechanism.AES_KEY_WRAP)
    values[label] = aes_key_unwrap(bytes(32), wrapped).hex()
print(json.dumps(values))
""",
        label=tokens.list()[0].label,
    )
    return values


def restore_master_keys(
    tokens: TokenFolder, values: dict[str, str], changes: str = "{}", inner: str = "{}"
) -> None:
    """Put version 1 on the token as a vendor's restore does: same value, attributes, not local.

    ``changes`` and ``inner`` are Python expressions: attributes that differ from what
    ``master-key generate`` gives the keys, and the keys that they unwrap. None leaves one out.
    """
    run(
        tokens,
        f"""
from custody.pkcs11 import token_scheme, unwrap_template
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.master_key import passing_wrapping_key
from custody.pkcs11.master_key_making import _ways
from pkcs11 import Mechanism
session = token.open(rw=True, user_pin=pin, attribute_mapper=NestedAttributeMapper())
ways = _ways(session)
types = {{token_scheme.SCHEMES[way.algorithm].key_type for way in ways}}
inner = {{**unwrap_template.insisted_on(types), **{inner}}}
inner = {{name: value for name, value in inner.items() if value is not None}}
for label, value in {values!r}.items():
    host = label.endswith("-host")
    uses = (Attribute.ENCRYPT, Attribute.DECRYPT) if host else (Attribute.WRAP, Attribute.UNWRAP)
    every_use = [getattr(Attribute, use) for use in
        ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")]
    more = {{}} if host else {{Attribute.UNWRAP_TEMPLATE: inner}}
    mechanisms = [Mechanism.AES_GCM] if host else sorted({{way.mechanism for way in ways}})
    attributes = {{
        Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: bytes.fromhex(value), Attribute.LABEL: label, Attribute.TOKEN: True,
        Attribute.ID: (1).to_bytes(4), Attribute.PRIVATE: True, Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False, **{{use: use in uses for use in every_use}}, **more,
        Attribute.ALLOWED_MECHANISMS: mechanisms, Attribute.COPYABLE: False,
        Attribute.MODIFIABLE: False, **{changes},
    }}
    attributes[Attribute.MODIFIABLE] = attributes.pop(Attribute.MODIFIABLE)
    session.create_object(attributes)
print("true")
""",
        label=tokens.list()[0].label,
    )
