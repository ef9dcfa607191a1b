"""The text of a new configuration file, with every setting explained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from custody.node.configuration import (
    DatabaseUrl,
    HealthPort,
    NewNode,
    first_sections,
    last_sections,
)
from custody.runtime.errors import OperatorError
from custody.runtime.tls_options import CRL
from custody.runtime.toml import optional, quoted
from custody.wire.group_sizes import MIN_THRESHOLD

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
# The age public keys of the people who keep the backup of this key: mpc-signer encryption-key
# backup. Others than those of [backup] recipients: nobody should open both.
# backup_recipients = ["age1..."]
# Age of the key, in days since its first use, after which doctor and the health warn: rotate it, as
# docs/how-to/change-the-encryption-key.md says. 0: never.
rotate_after_days = 365

{hsm}
[quorum]
# Lowest threshold that this signer accepts, whatever the control plane says.
min_threshold = {min_threshold}
# Lowest threshold of a group that gets a copy of a key, if no application that is pinned here has
# signed the request: then the control plane alone chooses the group. Not set: the key's own
# threshold. With a lower number, that many signers that lie can learn a key with the help of the
# control plane.
# min_unsigned_copy_threshold = 3

# Delivery servers, where signers exchange messages. They see only ciphertext. Tickets use the names
# given here. The signer presents its node certificate. Configure several, so that one may fail.
{delivery}
# Layer 4, a copy of each share in the customer's own bucket, encrypted to the customer's own key:
# mpc-signer layer4 init checks the bucket and adds a section [layer4].

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
# start_seconds = 30
# keepalive_seconds = 30
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
# A worker that needs longer to log in, and to prove and judge the keys, is killed. It is tried
# again later.
start_seconds = 30
# A worker that was idle for so long asks the HSM for something: firewalls drop idle sessions, and
# an HSM that is away is noticed before a signature needs it.
keepalive_seconds = 30
# The settings of a token that differs from others are those of [hsm] of hsm-driver:
# docs/how-to/vendor-settings.md.
# Check values of keys that came from the HSM's backup, and so were not made inside this HSM.
# mpc-signer master-key adopt --restored prints the line: docs/how-to/recover/hsm-lost.md.
# restored_check_values = ["0x..."]
# restored_extractable = true  # if they were generated with --extractable
# Check values of keys that may be used although they are weaker than this token can make them, as
# after master-key generate --rewrappable or --extractable, or although a slow or unclear token lets
# nobody judge them: docs/how-to/new-master-key.md.
# weaker_check_values = ["0x..."]
"""

DELIVERY_SECTION = """\
[[delivery]]
name = {name}
url = {url}
# The root of the server's certificate.
ca = {ca}
# CRLs that this certificate is checked against.
{crl}
"""


@dataclass(frozen=True, kw_only=True)
class NewSigner(NewNode):
    """The facts that `mpc-signer init` asks for: each field is an option of the command.

    With ``module`` and ``token_label`` the encryption key is in an HSM, else in ``key_file``.
    """

    delivery: Annotated[
        list[str], typer.Option(help="NAME=https://host:port of a delivery server; repeatable.")
    ]
    group: Annotated[str, typer.Option(help="The node group of all signers.")] = "mpc"
    database_url: DatabaseUrl = "postgresql://mpc_signer@localhost/mpc_signer"
    key_file: Annotated[Path, typer.Option(help="The encryption key of this signer's shares.")] = (
        Path("encryption.key")
    )
    module: Annotated[
        Path | None, typer.Option(help="PKCS#11 library, for an encryption key in an HSM.")
    ] = None
    token_label: Annotated[str | None, typer.Option(help="That token's label.")] = None
    pin_file: Annotated[Path, typer.Option(help="A file of mode 0600 with the token's PIN.")] = (
        Path("pin")
    )
    min_threshold: Annotated[
        int, typer.Option(min=MIN_THRESHOLD, help="Lowest threshold that this signer accepts.")
    ] = MIN_THRESHOLD
    health_port: HealthPort = 9467


def new_configuration(new: NewSigner) -> str:
    """Return the text of a configuration file, with every setting explained.

    Raise OperatorError for options that do not fit together.
    """
    first = first_sections(
        new, "The node group of all signers. The database is this signer's alone."
    )
    in_hsm = _is_in_hsm(new)
    signer = SIGNER_SECTIONS.format(
        encryption=IN_HSM if in_hsm else FILE.format(key_file=quoted(new.key_file)),
        hsm=_hsm_section(new) if in_hsm else HSM_EXPLAINED,
        min_threshold=new.min_threshold,
        delivery="\n".join(
            DELIVERY_SECTION.format(
                name=quoted(name),
                url=quoted(where),
                ca=quoted(new.ca),
                crl=optional("crl", new.crl, CRL),
            )
            for name, where in _servers(new.delivery).items()
        ),
    )
    return TITLE + first + signer + last_sections(new, "mpc-signer")


def _is_in_hsm(new: NewSigner) -> bool:
    if (new.module is None) != (new.token_label is None):
        raise OperatorError(
            "an encryption key in an HSM needs a module and a token",
            "Give both --module and --token-label, or neither.",
        )
    return new.module is not None


def _hsm_section(new: NewSigner) -> str:
    return HSM_SECTION.format(
        module=quoted(new.module or ""),
        token_label=quoted(new.token_label or ""),
        pin_file=quoted(new.pin_file),
    )


def _servers(servers: list[str]) -> dict[str, str]:
    """Return URLs by name. Raise OperatorError."""
    named = {}
    for text in servers:
        name, equals, url = text.partition("=")
        if not (name and equals and url):
            raise OperatorError(
                f"{text!r} is not a delivery server", "Write NAME=https://host:port."
            )
        named[name] = url
    return named
