"""Reading of TOML configuration files and of secrets (files or systemd credentials)."""

import errno
import os
import secrets
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from custody.runtime.errors import ConfigurationError
from custody.runtime.toml import parse_toml
from custody.wire.secret_files import CREDENTIALS, others_may_read

MAX_SECRET = 1024 * 1024
"""In bytes."""
NEW = ".unfinished-"
"""The beginning of the names of files that are not complete yet."""
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems without hard links, as those of USB sticks (link(2))."""


class Section(BaseModel):
    """Base of configuration models: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    _file: Path | None = PrivateAttr(default=None)

    def read_again(self) -> Self:
        """Return the settings as their file has them now. Raise ConfigurationError.

        Settings that were not read from a file are returned unchanged.
        """
        return self if self._file is None else read_settings(self._file, type(self))


def _from_the_files_folder(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / path


ConfiguredPath = Annotated[Path, AfterValidator(_from_the_files_folder)]
"""A path; a relative path starts at the configuration file's folder."""


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
        """Return the URL, or read it from ``url_file``. Raise ConfigurationError."""
        if self.url is not None:
            return self.url
        assert self.url_file is not None
        return read_secret(self.url_file, "the database URL").decode()


Settings = TypeVar("Settings", bound=Section)


def read_settings(path: Path, model: type[Settings]) -> Settings:
    """Read a TOML file into a model.

    Raise ConfigurationError, which names the file and each invalid key.
    """
    try:
        data = parse_toml(path.read_text("utf-8"))
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
        settings = _checked(data, path, model)
        settings._file = path.absolute()
        return settings
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} has invalid settings:\n{_faults(error)}",
            "Correct them; the init command writes a file with every setting explained.",
        ) from None


def check_settings(text: str, path: Path, model: type[Settings]) -> Settings:
    """Check a configuration file's text before it is written. Raise ConfigurationError."""
    try:
        return _checked(parse_toml(text), path, model)
    except ValidationError as error:
        raise ConfigurationError(
            f"nothing was written, because these settings are invalid:\n{_faults(error)}",
            "Correct the options that set them.",
        ) from None


def _checked(data: dict[str, Any], path: Path, model: type[Settings]) -> Settings:
    return model.model_validate(data, context={"folder": path.resolve().parent})


def _faults(error: ValidationError) -> str:
    return "\n".join(
        f"  {'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )


def read_secret(path: Path, what: str) -> bytes:
    """Return a secret file's contents without final newlines. Raise ConfigurationError."""
    return read_secret_file(path, what).rstrip(b"\r\n")


def read_secret_file(path: Path, what: str) -> bytes:
    """Return a secret file's contents.

    Raise ConfigurationError if the file cannot be read, is too large, or if other users may read
    it. A pipe is read as well: a shell passes one for ``<(command)``.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {what} from {path}: {error.strerror}",
            "Create the file for this user alone (chmod 600), or correct the configuration.",
        ) from None
    if others_may_read(path, mode, os.environ.get(CREDENTIALS)):
        raise ConfigurationError(
            f"{path}, which holds {what}, may be read by other users",
            f"chmod 600 {path}",
        )
    if len(secret) > MAX_SECRET:
        raise ConfigurationError(
            f"{path} has more than {MAX_SECRET} bytes, too many for {what}",
            "Correct the path in the configuration or on the command line.",
        )
    return secret


def write_secret(path: Path, secret: bytes) -> None:
    """Write a new secret file with mode 0600: see ``write_new``."""
    write_new(path, secret, 0o600)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a new file and fsync it. Raise FileExistsError or OSError.

    After an error or a crash the file is complete, or it is not there: a truncated secret could be
    taken for the whole secret. One exception: on a file system without hard links, a crash may
    leave an empty file. FileExistsError is then raised until somebody removes the empty file.
    A crash may also leave a file ``.unfinished-...`` beside it.
    ``mode``: less the umask.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path, content, mode) as temporary:
            _give_new_name(temporary, path)
        try:
            sync_folder(path.parent)
        except OSError:
            path.unlink()
            raise


def replace_file(path: Path, content: bytes, *, like_old: bool = False) -> None:
    """Replace a file atomically and fsync it. After a crash the old or the new contents exist.

    ``like_old``: keep mode and owner of the old file, which must exist. Otherwise the process's
    umask decides.
    """
    with _named(path):
        old = path.stat() if like_old else None
        with _temporary(path, content, 0o666, old) as temporary:
            temporary.replace(path)
        sync_folder(path.parent)


@contextmanager
def _temporary(
    path: Path, content: bytes, mode: int, like: os.stat_result | None = None
) -> Iterator[Path]:
    """Write a complete file beside a path. Remove it at the end, if it still has its own name.

    ``mode``: less the umask. ``like``: the file whose owner and mode it gets.
    """
    temporary = path.with_name(NEW + secrets.token_hex(8))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                os.fchown(descriptor, like.st_uid, like.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _give_new_name(temporary: Path, path: Path) -> None:
    """Give a file a name that no file has. Raise FileExistsError or OSError.

    Without hard links, an empty file reserves the name. An error removes it, a SIGKILL leaves it.
    """
    try:
        os.link(temporary, path)  # unlike a rename, a link never replaces a file
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the file's name to an OSError: the system leaves it out when a write fails."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def sync_folder(folder: Path) -> None:
    """Fsync a folder: otherwise a power failure may lose the name of a new file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def credential_path(name: str) -> Path:
    """Return the path of a systemd credential (LoadCredential=, systemd.exec(5))."""
    folder = os.environ.get(CREDENTIALS)
    if folder is None:
        raise ConfigurationError(
            f"the configuration names the credential {name!r}, but systemd passed no credentials",
            f"Add LoadCredential={name}:FILE to the unit, or name a file instead. For a command by "
            "hand see docs/how-to/systemd.md, 'Secrets as credentials'.",
        )
    return Path(folder) / name
