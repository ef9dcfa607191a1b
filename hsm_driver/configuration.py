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
from custody.runtime.toml import quoted

TITLE = """\
# Configuration of hsm-driver. Relative paths count from this file's folder.

"""

HSM_SECTION = """\
[hsm]
# The vendor's PKCS#11 library and the token's label.
module = {module}
token_label = {token_label}
# If several tokens have this label: the serial of the right one, or the number of its slot.
# token_serial = "..."
# slot = 0
# The user PIN: a file of mode 0600, or pin_credential = "<name>" for systemd's LoadCredential=.
# A wrong PIN is tried once, then not again until the file changes.
pin_file = {pin_file}
# Worker processes, each with one session. When left out: the cores that this process may use, at
# most 8.
# workers = 2
# The driver kills and replaces a worker that needs longer for one group of operations.
deadline_seconds = 10
# A worker that needs longer to log in, and to prove and judge the keys, is killed. It is tried
# again later.
start_seconds = 30
# A worker that was idle for so long asks the HSM for something: firewalls drop idle sessions, and
# an HSM that is away is noticed before a signature needs it.
keepalive_seconds = 30
# Where this token differs from others: docs/how-to/vendor-settings.md. Mechanisms that wrap new
# keys, in the order of trial, by name or by the vendor's number.
# wrap_mechanisms = ["AES_KEY_WRAP_KWP", "AES_KEY_WRAP_PAD", "AES_KEY_WRAP"]
# Sessions of the workers that sign: "read-write" for tokens without read-only sessions.
# sessions = "read-only"
# Attributes that new master keys do not get, because the token fails with them.
# master_key_without = ["ALLOWED_MECHANISMS"]
# "protected-path": a person enters the PIN at the HSM, and pin_file is left out. Or "none".
# login = "user"
# "token": the HSM chooses the IV of AES-GCM itself.
# gcm_iv = "driver"
# Give unwrapped keys CKA_WRAP_WITH_TRUSTED.
# wrap_with_trusted = false
# Algorithms that this host may sign with, because the token cannot do them inside. Such private
# keys are in this host's memory while they are used: docs/explanation/architecture.md.
# Example: ["EdDSA/ed25519"]
host_signing = [{host_signing}]
# Unwrapped keys that each worker keeps in its session on the token, and for how many seconds. A key
# of a hot wallet then signs again without being unwrapped: docs/how-to/vendor-settings.md.
cached_keys = 0
cached_keys_seconds = 60
# Age of the newest master key, in days since the group has known it, after which doctor and the
# health warn: make a new one, as docs/how-to/new-master-key.md says. 0: never.
rotate_after_days = 730
# Check values of master keys that came from the HSM's backup, and so were not made inside this
# HSM. hsm-driver master-key adopt --restored prints the line: docs/how-to/recover/hsm-lost.md.
# restored_check_values = ["0x..."]
# restored_extractable = true  # if they were generated with --extractable
# Check values of keys that may be used although they are weaker than this token can make them, as
# after master-key generate --rewrappable or --extractable, or although a slow or unclear token lets
# nobody judge them: docs/how-to/new-master-key.md.
# weaker_check_values = ["0x..."]
# Other tokens with the same master keys (clones, HA pairs): docs/how-to/several-tokens.md. Losing
# one costs no request. A table names what differs from [hsm], and the token's own PIN. Each token
# has its own workers.
# [[hsm.other_tokens]]
# token_label = "custody-2"  # or another module, token_serial or slot
# pin_file = "pin-2"         # or pin_credential

"""


KEY_COPIES_EXPLAINED = """\
# A copy of each wrapped key in your S3 bucket, before the key is Active. While a copy cannot be
# put, no key is made. Copies open only in this HSM: docs/how-to/copy-wrapped-keys.md. All drivers
# of a group use the same bucket and prefix. The credentials may put, get and list there. A copy is
# signed with its driver's identity key. This driver accepts its own copies, and those of the
# drivers in driver_keys: the public keys that hsm-driver identity show prints there.
# [key_copies]
# endpoint = "https://s3.example.com"
# region = "us-east-1"
# bucket = "keys"
# prefix = "hsm/"
# ca = "s3-ca.pem"                     # root of the endpoint's certificate, unless a public one
# crl = "s3-crl.pem"                   # CRLs that this certificate is checked against
# credentials_file = "s3-credentials"  # mode 0600, in the form of ~/.aws/credentials
# driver_keys = ["base64 of the identity public key of another driver of the group"]

"""


@dataclass(frozen=True, kw_only=True)
class NewDriver(NewNode):
    """The facts that `hsm-driver init` asks for: each field is an option of the command."""

    module: Annotated[Path, typer.Option(help="The vendor's PKCS#11 library.")]
    token_label: Annotated[str, typer.Option(help="The token's label.")]
    group: Annotated[str, typer.Option(help="The group of drivers with one database.")] = "hsm"
    database_url: DatabaseUrl = "postgresql://hsm_driver@localhost/hsm_driver"
    pin_file: Annotated[Path, typer.Option(help="A file of mode 0600 with the PIN.")] = Path("pin")
    host_signing: Annotated[
        list[str] | None,
        typer.Option(help="Algorithm that may be signed on the host, as EdDSA/ed25519."),
    ] = None
    health_port: HealthPort = 9464


def new_configuration(new: NewDriver) -> str:
    """Return the text of a configuration file, with every setting explained."""
    hsm = HSM_SECTION.format(
        module=quoted(new.module),
        token_label=quoted(new.token_label),
        pin_file=quoted(new.pin_file),
        host_signing=", ".join(map(quoted, new.host_signing or [])),
    )
    return (
        TITLE + first_sections(new) + hsm + KEY_COPIES_EXPLAINED + last_sections(new, "hsm-driver")
    )
