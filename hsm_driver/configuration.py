"""From the configuration file to what the parts want of it; and a new file, explained."""

import os
from dataclasses import replace
from pathlib import Path

from daemon.configuration import quoted
from hsm_driver.hsm.settings import HsmSettings, PinCredential, PinFile
from hsm_driver.settings import DriverSettings, TokenSection
from node.configuration import NewNode, first_sections, last_sections
from wire.algorithms import Algorithm


def hsm_settings(settings: DriverSettings, workers: int | None = None) -> HsmSettings:
    """The HSM's settings; ``workers`` overrides the file's number."""
    token = token_settings(settings.hsm, settings.node.state_directory, workers)
    algorithms = frozenset(Algorithm.parse(text) for text in settings.hsm.host_signing)
    return replace(token, host_signing=algorithms)


def token_settings(
    section: TokenSection, state_directory: Path, workers: int | None = None
) -> HsmSettings:
    """How to reach the token of a section of any node's configuration."""
    pin = (
        PinFile(section.pin_file)
        if section.pin_file is not None
        else PinCredential(section.pin_credential or "")
    )
    return HsmSettings(
        module=section.module,
        token_label=section.token_label,
        pin=pin,
        state_directory=state_directory,
        deadline_seconds=section.deadline_seconds,
        workers=workers or section.workers or os.cpu_count() or 1,
    )


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
# A worker that takes longer than this over one group of operations is killed and replaced.
deadline_seconds = 10
# Algorithms that may be signed on this host where the token cannot do them inside. Such private
# keys are in this host's memory while they are used: docs/architecture.md, host signing.
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
    """The text of a configuration file, with every setting explained."""
    first = first_sections(new)
    hsm = HSM_SECTION.format(
        module=quoted(module),
        token_label=quoted(token_label),
        pin_file=quoted(pin_file),
        host_signing=", ".join(map(quoted, host_signing)),
    )
    return TITLE + first + hsm + last_sections(new, DriverSettings.program)
