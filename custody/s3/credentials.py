"""Credentials of a bucket, in the form of ~/.aws/credentials: from a file or from systemd."""

import configparser
from dataclasses import dataclass, field
from pathlib import Path

from custody.runtime.configuration import credential_path, read_secret
from custody.runtime.errors import ConfigurationError
from custody.s3.settings import S3Section

WHAT = "the credentials of the S3 bucket"
SECTION = "default"
FORM = """Write it like this, with mode 0600:
     [default]
     aws_access_key_id = ...
     aws_secret_access_key = ..."""


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def credentials_path(settings: S3Section) -> Path:
    """Return the file of the credentials. Raise ConfigurationError."""
    if settings.credentials_file is not None:
        return settings.credentials_file
    return credential_path(settings.credentials_credential or "")


def read_credentials(settings: S3Section) -> Credentials:
    """Read the credentials. Raise ConfigurationError; its text has no secret."""
    path = credentials_path(settings)
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(read_secret(path, WHAT).decode())
    except (configparser.Error, UnicodeDecodeError):
        raise ConfigurationError(f"{path} does not have the form of {WHAT}", FORM) from None
    if not parser.has_section(SECTION):
        raise ConfigurationError(f"{path} has no section [{SECTION}]", FORM)
    section = parser[SECTION]
    access_key = section.get("aws_access_key_id", "")
    secret_key = section.get("aws_secret_access_key", "")
    if not access_key or not secret_key:
        missing = "aws_secret_access_key" if access_key else "aws_access_key_id"
        raise ConfigurationError(f"{path} has no {missing}", FORM)
    return Credentials(access_key, secret_key, section.get("aws_session_token"))
