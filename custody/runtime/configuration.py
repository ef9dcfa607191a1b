"""TOML configuration files into checked models; secrets from files or systemd credentials."""

import json
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from custody.runtime.errors import ConfigurationError
from custody.wire.secret_files import CREDENTIALS, others_may_read


class Section(BaseModel):
    """Base of configuration models: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _from_the_files_folder(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / path


ConfiguredPath = Annotated[Path, AfterValidator(_from_the_files_folder)]
"""A relative path counts from the configuration file's folder."""


class DatabaseSection(Section):
    """[database]: the URL, or a file of mode 0600 that holds it."""

    url: str | None = None
    url_file: ConfiguredPath | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "DatabaseSection":
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either url or url_file")
        return self

    def read_url(self) -> str:
        """The URL, from the file where one is named. Raises ConfigurationError."""
        if self.url is not None:
            return self.url
        assert self.url_file is not None
        return read_secret(self.url_file, "the database URL").decode()


Settings = TypeVar("Settings", bound=Section)


def load(path: Path, model: type[Settings]) -> Settings:
    """Read a TOML file into a model.

    Raises ConfigurationError that names the file and each key at fault.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the configuration {path}: {error.strerror}",
            "Give its path with --config, or write a new one with the init command.",
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{path} is not UTF-8, so it is not TOML", "Save it as UTF-8 text."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", "Correct that line.") from None
    try:
        return _checked(data, path, model)
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} has settings that cannot be used:\n{_faults(error)}",
            "Correct them; the init command writes a file with every setting explained.",
        ) from None


def check(text: str, path: Path, model: type[Settings]) -> Settings:
    """What a file of this text would say, before it is written. Raises ConfigurationError."""
    try:
        return _checked(tomllib.loads(text), path, model)
    except ValidationError as error:
        raise ConfigurationError(
            f"nothing was written: these settings are invalid:\n{_faults(error)}",
            "Correct the options that set them.",
        ) from None


def _checked(data: dict[str, Any], path: Path, model: type[Settings]) -> Settings:
    return model.model_validate(data, context={"folder": path.resolve().parent})


def _faults(error: ValidationError) -> str:
    return "\n".join(
        f"  {'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )


def quoted(value: str | Path) -> str:
    """A TOML basic string, which has JSON's escapes."""
    return json.dumps(str(value), ensure_ascii=False)


def read_secret(path: Path, what: str) -> bytes:
    """Contents of a secret file, without a final newline. Refuses a file that others may read."""
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {what} from {path}: {error.strerror}",
            "Make the file, readable by this user alone (chmod 600), or correct the configuration.",
        ) from None
    if others_may_read(path, mode, os.environ.get(CREDENTIALS)):
        raise ConfigurationError(
            f"{path}, which holds {what}, may be read by other users",
            f"chmod 600 {path}",
        )
    return secret.rstrip(b"\r\n")


def write_secret(path: Path, secret: bytes) -> None:
    """Write a new secret file, mode 0600, on disk when this returns. Never overwrites.

    On a disk that is full nothing is left: half a secret would pass for the whole one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with _removed_on_failure(path):
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole, on disk when this returns: a crash leaves the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with _removed_on_failure(temporary):
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    sync_folder(path.parent)


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    """Name the file in the error, which the system leaves out when a write fails."""
    try:
        yield
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk: without it a new file's name may not outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def credential_path(name: str) -> Path:
    """Path of a systemd credential (LoadCredential=, systemd.exec(5))."""
    folder = os.environ.get(CREDENTIALS)
    if folder is None:
        raise ConfigurationError(
            f"the credential {name!r} is wanted, but systemd passed none to this process",
            "Add LoadCredential= to the unit, or name a file instead.",
        )
    return Path(folder) / name
