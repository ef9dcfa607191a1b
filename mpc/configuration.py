"""The text of a new configuration file, with every setting explained."""

from dataclasses import dataclass
from pathlib import Path

from custody.node.configuration import NewNode, first_sections, last_sections
from custody.runtime.configuration import quoted
from mpc.settings import SignerSettings

TITLE = """\
# Configuration of mpc-signer. Relative paths count from this file's folder.

"""

SIGNER_SECTIONS = """\
[encryption]
# The key that encrypts this signer's stored shares: a file of mode 0600, which init makes. Back up
# this file, apart from the database. Without it the shares cannot be used, and a signer that has
# lost its shares needs t other signers to repair them.
{encryption}
# Earlier encryption keys that some shares may still need, while mpc-signer rewrap is not finished.
# other_key_files = []

{hsm}
[quorum]
# Lowest threshold that this signer accepts, whatever the control plane says.
min_threshold = {min_threshold}

# Delivery servers, where signers exchange messages. They see only ciphertext. Tickets use the names
# given here. The signer presents its node certificate. Configure several, so that one may fail.
{delivery}
"""

FILE = """\
key = "file"
key_file = {key_file}"""

IN_HSM = """\
key = "hsm\""""

HSM_EXPLAINED = """\
# A key in an HSM instead: key = "hsm" above, no key_file, and this section; then make the key with
# mpc-signer master-key generate. From a file to the HSM: mpc-signer rewrap --to-hsm.
# [encryption.hsm]
# module = "/usr/lib/softhsm/libsofthsm2.so"
# token_label = "signer"
# pin_file = "pin"           # mode 0600, or pin_credential = "<name>" for LoadCredential=
# key_label = "custody-signer"
# workers = 1                # processes, each with one session
# deadline_seconds = 10
"""

HSM_SECTION = """\
[encryption.hsm]
# The vendor's PKCS#11 library and the token's label.
module = {module}
token_label = {token_label}
# The user PIN: a file of mode 0600, or pin_credential = "<name>" for systemd's LoadCredential=.
# A wrong PIN is tried once, then not again until the file changes.
pin_file = {pin_file}
# Label of the AES key, which mpc-signer master-key generate makes.
key_label = "custody-signer"
# Worker processes, each with one session. One is enough: decrypted shares stay in memory.
workers = 1
# The signer kills and replaces a worker that needs longer for one group of operations.
deadline_seconds = 10
"""

DELIVERY_SECTION = """\
[[delivery]]
name = {name}
url = {url}
# The root of the server's certificate.
ca = {ca}
"""


@dataclass(frozen=True)
class Token:
    """The HSM token that contains the encryption key."""

    module: Path
    label: str
    pin_file: Path


def new_configuration(
    new: NewNode,
    *,
    key_file: Path,
    token: Token | None,
    min_threshold: int,
    delivery: dict[str, str],
) -> str:
    """Return the text of a configuration file, with every setting explained.

    ``delivery``: URLs by name. ``token``: null for a key in ``key_file``.
    """
    first = first_sections(
        new, "The node group of all signers. The database is this signer's alone."
    )
    signer = SIGNER_SECTIONS.format(
        encryption=IN_HSM if token else FILE.format(key_file=quoted(key_file)),
        hsm=_hsm_section(token) if token else HSM_EXPLAINED,
        min_threshold=min_threshold,
        delivery="\n".join(
            DELIVERY_SECTION.format(name=quoted(name), url=quoted(where), ca=quoted(new.ca))
            for name, where in delivery.items()
        ),
    )
    return TITLE + first + signer + last_sections(new, SignerSettings.program)


def _hsm_section(token: Token) -> str:
    return HSM_SECTION.format(
        module=quoted(token.module),
        token_label=quoted(token.label),
        pin_file=quoted(token.pin_file),
    )
