"""SoftHSM tokens in a separate folder, apart from the tokens of the machine.

A folder has ``softhsm2.conf`` (its path belongs into SOFTHSM2_CONF), ``tokens/`` and for each
token a file ``LABEL.pin`` with the user PIN, mode 0600.
"""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from custody.runtime.configuration import read_secret, replace_file, sync_folder, write_secret
from custody.runtime.errors import OperatorError
from custody.runtime.regular_files import read_regular

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),  # Debian
    Path("/usr/lib64/softhsm/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)
LABEL = re.compile(r"[A-Za-z0-9_.-]{1,32}")
PIN_BYTES = 8
SERIAL_SIZE, LABEL_SIZE = 16, 32
"""Characters of a serial number and of a padded label (PKCS#11 3.1, CK_TOKEN_INFO)."""
DESCRIPTION_FILE = "token.object"
MAX_FILES, MAX_FILE = 10_000, 1024 * 1024
"""Of a token: how many files, and bytes in each. SoftHSM writes a small file for each object."""
CONFIGURATION = """\
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


@dataclass(frozen=True)
class ListedToken:
    """A token as SoftHSM shows it."""

    label: str
    serial: str
    user_pin_initialised: bool


def find_module() -> Path:
    """Return the path of SoftHSM's PKCS#11 library. Raise OperatorError."""
    for module in MODULES:
        if module.exists():
            return module
    raise OperatorError("SoftHSM is not installed", "Run: apt-get install softhsm2")


class TokenFolder:
    """A folder of tokens. Every method raises OperatorError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.configuration = self.folder / "softhsm2.conf"
        self._tokens = self.folder / "tokens"
        self._module = find_module()

    @property
    def module(self) -> Path:
        return self._module

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a process sees these tokens."""
        return {"SOFTHSM2_CONF": str(self.configuration), "PKCS11_MODULE": str(self._module)}

    def pin_file(self, label: str) -> Path:
        return self.folder / f"{label}.pin"

    def make(self, label: str, pin: str | None = None) -> Path:
        """Make a token. Return the file with its PIN, which is random unless given."""
        _check_label(label)
        self._prepare()
        if any(token.label == label for token in self.list()):
            raise OperatorError(
                f"{self.folder} has a token {label!r} already",
                "Choose another label, or delete this token: "
                f"softhsm/token --folder {self.folder} wipe {label}",
            )
        user_pin = secrets.token_hex(PIN_BYTES) if pin is None else pin
        self.pin_file(label).unlink(missing_ok=True)
        write_secret(self.pin_file(label), user_pin.encode())
        self._run(
            "--init-token", "--free", "--label", label, "--pin", user_pin,
            "--so-pin", secrets.token_hex(PIN_BYTES),
        )  # fmt: skip
        return self.pin_file(label)

    def list(self) -> list[ListedToken]:
        """Return the tokens of this folder; none if the folder does not exist yet."""
        if not self._tokens.is_dir():
            return []
        shown = self._run("--show-slots")
        tokens = []
        for slot in re.split(r"^Slot \d+$", shown, flags=re.MULTILINE)[1:]:
            fields = dict(re.findall(r"^\s+([A-Za-z .]+?):\s+(.*?)\s*$", slot, re.MULTILINE))
            if fields.get("Initialized") == "yes":
                tokens.append(
                    ListedToken(
                        label=fields["Label"],
                        serial=fields["Serial number"],
                        user_pin_initialised=fields["User PIN init."] == "yes",
                    )
                )
        return sorted(tokens, key=lambda token: token.label)

    def wipe(self, label: str) -> None:
        """Delete a token with every key in it, and its PIN."""
        _check_label(label)
        self._named(label)
        self._run("--delete-token", "--token", label)
        self.pin_file(label).unlink(missing_ok=True)

    def copy_to(self, label: str, other: "TokenFolder", new_label: str | None = None) -> Path:
        """Copy a token with its keys and its PIN into a folder. Return the new PIN file.

        This stands for an HSM vendor's cloning, backup and restore: no key needs to be extractable.
        A SoftHSM token is a folder of files, so a copy of these files is enough. Both tokens have
        the same label and serial number, so they cannot be in one folder. With ``new_label`` the
        copy gets that label and a serial number of its own, so it can. The copy appears under its
        name when it is complete, and never replaces a token.
        """
        _check_label(label)
        copied_label = label if new_label is None else new_label
        _check_label(copied_label)
        self._check_files()
        token = self._named(label)
        if any(each.label == copied_label for each in other.list()):
            raise OperatorError(
                f"{other.folder} has a token {copied_label!r} already",
                "Choose another folder or label, or delete this token: "
                f"softhsm/token --folder {other.folder} wipe {copied_label}",
            )
        pin = read_secret(self.pin_file(label), "the token's PIN")
        source = self._files_of(token)
        other._prepare()
        named = token
        if new_label is not None:
            named = replace(token, label=new_label, serial=secrets.token_hex(SERIAL_SIZE // 2))
        copied = other._tokens / _folder_name(source.name, named.serial)
        try:
            _copy_token(source, copied, _renaming(token, named))
            self._compare(named, other)
            other.pin_file(copied_label).unlink(missing_ok=True)
            write_secret(other.pin_file(copied_label), pin)
        except BaseException:
            shutil.rmtree(copied, ignore_errors=True)
            raise
        return other.pin_file(copied_label)

    def _named(self, label: str) -> ListedToken:
        for token in self.list():
            if token.label == label:
                return token
        raise OperatorError(f"{self.folder} has no token {label!r}", self._hint())

    def _files_of(self, token: ListedToken) -> Path:
        """Return the folder of a token's files. Its name ends with the token's serial number."""
        for folder in self._tokens.iterdir():
            if folder.name.replace("-", "").endswith(token.serial):
                return folder
        raise OperatorError(
            f"{self._tokens} has no folder of the token {token.label!r}, serial {token.serial}",
            "Find out who renamed or moved the token's folder.",
        )

    def _check_files(self) -> None:
        """Raise OperatorError unless the tokens are folders of files: SoftHSM waits for a pipe."""
        for folder in self._tokens.iterdir() if self._tokens.is_dir() else ():
            if folder.is_symlink() or not folder.is_dir():
                raise OperatorError(
                    f"{folder} is not the folder of a token",
                    "Use another backup of the token, or find out who put it there.",
                )
            _contents(folder)

    def _compare(self, token: ListedToken, other: "TokenFolder") -> None:
        """Raise OperatorError unless SoftHSM finds this token in the other folder."""
        if token not in other.list():
            raise OperatorError(
                f"SoftHSM does not show the copy of the token {token.label!r} in {other.folder}",
                "The copy was deleted. Check the space on that disk, and try again.",
            )

    def _hint(self) -> str:
        return f"List the tokens: softhsm/token --folder {self.folder} list"

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._tokens.mkdir(exist_ok=True, mode=0o700)
        replace_file(self.configuration, CONFIGURATION.format(tokens=self._tokens).encode())

    def _run(self, *arguments: str) -> str:
        """Run softhsm2-util on these tokens. A backup's own configuration may name others."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as configuration:
            configuration.write(CONFIGURATION.format(tokens=self._tokens))
            configuration.flush()
            done = subprocess.run(
                ["softhsm2-util", "--module", str(self._module), *arguments],
                env={**os.environ, "SOFTHSM2_CONF": configuration.name},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise OperatorError(
                f"softhsm2-util {arguments[0]} failed: {said}",
                f"Check that this user can write to {self.folder}.",
            )
        return done.stdout


def _folder_name(name: str, serial: str) -> str:
    """Return the name of a token's folder, a UUID whose last digits are the serial number."""
    return str(UUID(UUID(name).hex[:-SERIAL_SIZE] + serial))


def _renaming(token: ListedToken, named: ListedToken) -> dict[bytes, bytes]:
    """Return what to replace in token.object, which has both texts in fields of fixed size."""
    old, new = token.label.encode().ljust(LABEL_SIZE), named.label.encode().ljust(LABEL_SIZE)
    return {old: new, token.serial.encode(): named.serial.encode()}


def _copy_token(source: Path, copied: Path, renaming: dict[bytes, bytes]) -> None:
    """Copy a token's files, mode 0600 in a folder of mode 0700, and fsync them.

    ``renaming``: bytes to replace in the file that describes the token.
    The copy is made beside ``copied`` and then renamed. Raise OperatorError if the token changed
    meanwhile: the copy could mix files of before and after the change.
    """
    before = _contents(source)
    with tempfile.TemporaryDirectory(dir=copied.parent.parent, prefix=".") as temporary:
        making = Path(temporary) / copied.name
        making.mkdir(mode=0o700)
        for name, content in before.items():
            is_description = name == DESCRIPTION_FILE
            write_secret(making / name, _renamed(content, renaming) if is_description else content)
        if _contents(source) != before:
            raise OperatorError(
                f"the token in {source} changed while it was copied",
                "Repeat the command when nothing makes or deletes keys on this token.",
            )
        making.rename(copied)
        sync_folder(copied.parent)


def _renamed(content: bytes, renaming: dict[bytes, bytes]) -> bytes:
    for old, new in renaming.items():
        content = content.replace(old, new)
    return content


def _contents(folder: Path) -> dict[str, bytes]:
    """Return a token's files by name. Raise OperatorError for what no token has."""
    contents = {}
    for file in sorted(folder.iterdir()):
        try:
            contents[file.name] = read_regular(file, MAX_FILE, follow=False)
        except OSError as error:
            raise OperatorError(
                f"the token in {folder} is damaged: {file.name}: {error.strerror}",
                "Use another backup of the token, or find out who changed it.",
            ) from None
        if len(contents) > MAX_FILES:
            raise OperatorError(
                f"the token in {folder} is damaged: it has more than {MAX_FILES} files",
                "Use another backup of the token, or find out who changed it.",
            )
    return contents


def _check_label(label: str) -> None:
    if not LABEL.fullmatch(label):
        raise OperatorError(
            f"{label!r} is not a label for a token", "Use 1 to 32 letters, digits, '_', '.', '-'."
        )
