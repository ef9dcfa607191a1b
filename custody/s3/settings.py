"""The settings of a bucket, for a section of a configuration file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from custody.runtime.configuration import ConfiguredPath, Section

BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
PREFIX = r"^([A-Za-z0-9!_.*'()-]+/)+$"
"""Characters that no S3 server and no tool has to escape."""


class S3Section(Section):
    """A bucket, the prefix of this program's objects, and the place of its credentials."""

    endpoint: Annotated[str, Field(pattern=r"^https://[^/@\s]+/?$")]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    bucket: Annotated[str, Field(pattern=BUCKET)]
    prefix: Annotated[str, Field(pattern=PREFIX, max_length=200)]
    addressing: Literal["path", "virtual"] = "path"
    """``path``: https://endpoint/bucket/name; ``virtual``: https://bucket.endpoint/name."""
    ca: ConfiguredPath | None = None
    """Root of the endpoint's certificate; None: botocore's list of public roots."""
    credentials_file: ConfiguredPath | None = None
    credentials_credential: Annotated[str, Field(min_length=1)] | None = None
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Longest wait for each answer."""

    @model_validator(mode="after")
    def _one_place_of_credentials(self) -> "S3Section":
        if (self.credentials_file is None) == (self.credentials_credential is None):
            raise ValueError("give either credentials_file or credentials_credential")
        return self

    @property
    def place(self) -> str:
        """Return the URL of the prefix, by which objects of another bucket are told apart."""
        return f"{self.endpoint.rstrip('/')}/{self.bucket}/{self.prefix}"
