"""A process that does not know the PIN, and looks for a key that needs none.

Started by an attempt at extraction as ``python -m custody.pkcs11.outsider MODULE SLOT LABEL
MECHANISM``. Prints what it could do with the private key of that label; exit code 1: nothing.
"""

import sys
from typing import Any

import pkcs11
from custody.pkcs11.slots import token_in
from pkcs11 import Attribute, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error


def main() -> int:
    module, slot, label, mechanism = sys.argv[1:5]
    template = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
    library = pkcs11.lib(module)
    with token_in(library, module, int(slot)).open() as session:
        for found in list(session.get_objects(template)):
            key: Any = found
            try:
                key.sign(bytes(32), mechanism=Mechanism[mechanism])
            except PKCS11Error:
                continue
            sys.stdout.write("signs with it\n")
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
