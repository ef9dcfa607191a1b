"""Which settings of a bucket and which files of credentials are accepted."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from custody.runtime.errors import ConfigurationError
from custody.s3.credentials import read_credentials
from custody.s3.settings import S3Section

GOOD: dict[str, Any] = {
    "endpoint": "https://s3.eu-central-1.amazonaws.com",
    "region": "eu-central-1",
    "bucket": "acme-share-copies",
    "prefix": "signer-1/",
    "credentials_file": "credentials",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://s3.example.com"},
        {"endpoint": "https://user@s3.example.com"},
        {"endpoint": "https://s3.example.com/path"},
        {"prefix": "signer-1"},
        {"prefix": "/"},
        {"prefix": "a b/"},
        {"bucket": "Capital"},
        {"credentials_file": None},
        {"credentials_credential": "s3"},
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        S3Section.model_validate(GOOD | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoint": "https://me:secret@s3.example.com"}, "https://s3.example.com"),
        ({"prefix": "signer-1"}, "ends with a slash"),
        ({"prefix": "signer-1/\n"}, "ends with a slash"),
    ],
)
def test_a_refusal_says_the_form_and_repeats_no_secret(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        S3Section.model_validate(GOOD | changes)
    (fault,) = caught.value.errors()
    assert said in fault["msg"]
    assert "secret" not in fault["msg"]


def test_the_place_names_endpoint_bucket_and_prefix() -> None:
    place = "https://s3.eu-central-1.amazonaws.com/acme-share-copies/signer-1/"
    assert S3Section.model_validate(GOOD).place == place


def credentials(path: Path, text: str, mode: int = 0o600) -> S3Section:
    path.write_text(text)
    path.chmod(mode)
    return S3Section.model_validate(GOOD | {"credentials_file": path})


WHOLE = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = s/e+c=ret%\n"


def test_credentials_in_the_form_of_the_aws_tools(tmp_path: Path) -> None:
    found = read_credentials(credentials(tmp_path / "c", WHOLE))
    assert (found.access_key, found.secret_key) == ("AKIA", "s/e+c=ret%")
    assert "ret%" not in repr(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[other]\naws_access_key_id = a\n", "no section"),
        ("[default]\naws_access_key_id = a\n", "no aws_secret_access_key"),
        ("[default]\naws_secret_access_key = a\n", "no aws_access_key_id"),
        ("secret", "does not have the form"),
    ],
)
def test_credentials_that_are_not_whole(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_credentials(credentials(tmp_path / "c", text))


def test_credentials_that_others_may_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="other users"):
        read_credentials(credentials(tmp_path / "c", WHOLE, 0o640))


def test_credentials_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(tmp_path / "s3", WHOLE)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    changes = {"credentials_file": None, "credentials_credential": "s3"}
    assert read_credentials(S3Section.model_validate(GOOD | changes)).access_key == "AKIA"
