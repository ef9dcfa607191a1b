"""The configuration file's settings for each part, and a new file with explanations."""

from dataclasses import replace
from pathlib import Path

from custody.node.configuration import NewNode, first_sections, last_sections
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_section import token_settings
from custody.runtime.configuration import quoted
from custody.wire.algorithms import Algorithm
from hsm_driver.settings import DriverSettings


def hsm_settings(settings: DriverSettings, workers: int | None = None) -> HsmSettings:
    """Return the HSM's settings; ``workers`` overrides the file's number."""
    token = token_settings(settings.hsm, settings.node.state_directory, workers)
    algorithms = frozenset(Algorithm.parse(text) for text in settings.hsm.host_signing)
    return replace(token, host_signing=algorithms)


TITLE = """\
# Configuration of hsm-driver. Relative paths count from this file's folder.

"""

HSM_SECTION = """\
[hsm]
# The vendor's PKCS#11 library and the token's label.
module = {module}
token_label = {token_label}
# The user PIN: a file of mode 0600, or pin_credential = "<name>" for systemd's LoadCredential=.
# A wrong PIN is tried once, then not again until the file changes.
pin_file = {pin_file}
# Worker processes, each with one session; the number of cores when left out.
# workers = 2
# The driver kills and replaces a worker that needs longer for one group of operations.
deadline_seconds = 10
# Algorithms that this host may sign with, because the token cannot do them inside. Such private
# keys are in this host's memory while they are used: docs/explanation/architecture.md.
# Example: ["EdDSA/ed25519"]
host_signing = [{host_signing}]

"""


def new_configuration(
    new: NewNode,
    *,
    module: Path,
    token_label: str,
    pin_file: Path,
    host_signing: list[str],
) -> str:
    """Return the text of a configuration file, with every setting explained."""
    first = first_sections(new)
    hsm = HSM_SECTION.format(
        module=quoted(module),
        token_label=quoted(token_label),
        pin_file=quoted(pin_file),
        host_signing=", ".join(map(quoted, host_signing)),
    )
    return TITLE + first + hsm + last_sections(new, DriverSettings.program)
