"""The section of a configuration file that names a token."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from custody.pkcs11.settings import HsmSettings, PinCredential, PinFile
from custody.runtime.configuration import ConfiguredPath, Section


class TokenSection(Section):
    """A token, and the place of its PIN."""

    module: ConfiguredPath
    token_label: str
    pin_file: ConfiguredPath | None = None
    pin_credential: str | None = None
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    deadline_seconds: Annotated[float, Field(gt=0)] = 10.0

    @model_validator(mode="after")
    def _one_pin(self) -> "TokenSection":
        if (self.pin_file is None) == (self.pin_credential is None):
            raise ValueError("give either pin_file or pin_credential")
        return self


def token_settings(
    section: TokenSection, state_directory: Path, workers: int | None = None
) -> HsmSettings:
    """Return how to reach the token that the section names."""
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
