"""The settings of a bucket, for a section of a configuration file."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from custody.runtime.configuration import ConfiguredPath, Section
from custody.runtime.tls import TlsFiles

BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
PREFIX = r"^([A-Za-z0-9!_.*'()-]+/)+$"
"""Characters that no S3 server and no tool has to escape."""
REGION = r"^[a-z0-9-]+$"
ENDPOINT = r"^https://[^/@\s]+/?$"


def _form(pattern: str, form: str) -> AfterValidator:
    """Return a check that says in words which form a text must have."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"give {form}")  # without the text: it may contain a password
        return text

    return AfterValidator(check)


def _shown(pattern: str) -> Any:
    """Return a field whose schema, and so the reference page, has the pattern."""
    return Field(json_schema_extra={"pattern": pattern})


class S3Section(Section):
    """A bucket, the prefix of this program's objects, and the place of its credentials."""

    endpoint: Annotated[
        str,
        _shown(ENDPOINT),
        _form(ENDPOINT, "an address as https://s3.example.com, without path and user"),
    ]
    region: Annotated[str, _shown(REGION), _form(REGION, "a region as us-east-1")]
    bucket: Annotated[
        str, _shown(BUCKET), _form(BUCKET, "a bucket's name: 3 to 63 of a-z, 0-9, '.' and '-'")
    ]
    prefix: Annotated[
        str,
        Field(max_length=200),
        _shown(PREFIX),
        _form(PREFIX, "a prefix that ends with a slash, as signer-1/"),
    ]
    addressing: Literal["path", "virtual"] = "path"
    """``path``: https://endpoint/bucket/name; ``virtual``: https://bucket.endpoint/name."""
    ca: ConfiguredPath | None = None
    """Root of the endpoint's certificate; None: botocore's list of public roots."""
    crl: ConfiguredPath | None = None
    """CRLs that the endpoint's certificate is checked against. Needs ``ca``."""
    credentials_file: ConfiguredPath | None = None
    credentials_credential: Annotated[str, Field(min_length=1)] | None = None
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Longest wait for the next bytes of an answer. The whole answer may take ten times as long."""

    @model_validator(mode="after")
    def _one_place_of_credentials(self) -> "S3Section":
        if (self.credentials_file is None) == (self.credentials_credential is None):
            raise ValueError("give either credentials_file or credentials_credential")
        return self

    @model_validator(mode="after")
    def _a_crl_needs_its_root(self) -> "S3Section":
        if self.crl is not None and self.ca is None:
            raise ValueError("crl needs ca, the root whose CRLs are in it")
        return self

    @property
    def tls(self) -> TlsFiles | None:
        """Return the files of connections to the endpoint; None with public roots."""
        if self.ca is None:
            return None
        return TlsFiles(f"bucket {self.bucket}", ca=self.ca, crl=self.crl)

    @property
    def place(self) -> str:
        """Return the URL of the prefix, by which objects of another bucket are told apart."""
        return f"{self.endpoint.rstrip('/')}/{self.bucket}/{self.prefix}"
