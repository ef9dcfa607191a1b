"""From a folder and a key file to what is in the files, with errors that name the next step."""

from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from custody.runtime.configuration import write_secret
from custody.runtime.console import err
from custody.runtime.errors import OperatorError
from custody.runtime.hardening import harden, lock_memory
from custody.runtime.private_keys import ask_passphrase
from custody.runtime.progress import counted
from custody.wire.algorithms import Network
from custody.wire.derivation import parse_path
from custody.wire.requests import CREATE_SIGNATURE, SignRequest
from mpc.recover.contents import FolderContents, RootKey, contents_of
from mpc.recover.customer_private_key import CustomerPrivateKey, read_private_key
from mpc.recover.drill import KeyResult, run_drill
from mpc.recover.found_files import MAX_FILES, TooManyFiles, find_files
from mpc.recover.private_key import PrivateKey, child_of, recovered
from mpc.recover.report import no_key
from mpc.recover.share_file import open_share_file, read_share_file


def unlock(path: Path) -> CustomerPrivateKey:
    """Protect this process's memory, then read the customer's private key."""
    harden()
    if not lock_memory():
        err.print(
            "warning: this user may not lock memory, so secrets may reach swap space. Turn swap "
            "off (swapoff --all), or lift the limit (ulimit -l unlimited).",
            markup=False,
        )
    return read_private_key(path, ask_passphrase)


def read_folder(folder: Path, key: CustomerPrivateKey) -> FolderContents:
    """Read every file below a folder. Raise OperatorError if the folder cannot be read."""
    if not folder.is_dir():
        raise OperatorError(
            f"{folder} is not a folder", "Download the bucket, and give the folder of its files."
        )
    try:
        found = find_files(folder)
    except OSError as error:
        raise OperatorError(
            f"cannot read {folder}: {error.strerror}", "Make the folder readable for this user."
        ) from None
    except TooManyFiles:
        raise OperatorError(
            f"{folder} has more than {MAX_FILES} files",
            "Download the bucket in parts, for instance the folders of some keys at a time.",
        ) from None
    shown = counted(found, "files")
    return contents_of(read_share_file(each, folder, key) for each in shown)


def drilled(contents: FolderContents, key: CustomerPrivateKey, now: datetime) -> list[KeyResult]:
    """Run the drill for every key, with a progress bar on a terminal."""
    return list(run_drill(counted(contents.keys, "keys"), key, now))


def write_new(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600. Raise OperatorError; an existing file stays unchanged."""
    try:
        write_secret(path, content)
    except OSError as error:
        raise OperatorError(
            f"cannot write {path}: {error.strerror}", "Nothing was written. Name another file."
        ) from None


def root_key(folder: Path, key: CustomerPrivateKey, wanted: str) -> RootKey:
    """Return the key in a folder that a text names. Raise OperatorError."""
    contents = read_folder(folder, key)
    if (nothing := no_key(contents, str(folder), key.fingerprint)) is not None:
        raise nothing
    return one_key(contents, wanted)


def one_key(contents: FolderContents, wanted: str) -> RootKey:
    """Return the key that a text names. Raise OperatorError for none or several."""
    found = contents.find(wanted)
    if not found:
        raise OperatorError(
            f"these files have no key {wanted}",
            "Name a root key by id, public key or address, as mpc-recover inspect shows it.",
        )
    if len({key.facts.public_key for key in found}) > 1:
        names = ", ".join(f"{key.facts.key_id} (0x{key.facts.public_key.hex()})" for key in found)
        raise OperatorError(
            f"{wanted} names {len(found)} keys: {names}", "Name one by its public key."
        )
    return _of_one_public_key(found)


def _of_one_public_key(found: list[RootKey]) -> RootKey:
    """Return the key that has enough shares, of those with one public key. Raise OperatorError.

    One signer alone can write copies that name this public key with another chain code, network or
    id. It cannot write t of them: t shares that fit the public key are the private key.
    """
    usable = [key for key in found if key.usable is not None]
    if len(usable) > 1:
        names = ", ".join(
            f"{key.facts.key_id} ({key.facts.algorithm}, {key.facts.network or 'no network'}, "
            f"chain code {key.facts.chain_code.hex() if key.facts.chain_code else 'none'})"
            for key in usable
        )
        raise OperatorError(
            f"{len(usable)} keys with this public key can be recovered: {names}",
            "Move the files of the wrong one away: mpc-recover inspect --json names them.",
        )
    return usable[0] if usable else max(found, key=_most_files)


def _most_files(key: RootKey) -> int:
    return max(len(each.files) for each in key.sets)


def private_key_of(root: RootKey, key: CustomerPrivateKey) -> PrivateKey:
    """Return a root key's private key, from t shares of its newest set. Raise OperatorError."""
    usable = root.usable
    if usable is None:
        best = max(root.sets, key=lambda each: len(each.files))
        raise OperatorError(
            f"key {root.facts.key_id} needs {best.facts.threshold} shares of one set, and these "
            f"files have {len(best.files)} at most",
            f"Download the copies of these signers too: {', '.join(best.missing)}.",
        )
    chosen = [usable.files[index][0] for index in sorted(usable.files)][: usable.facts.threshold]
    try:
        copies = [open_share_file(file, key) for file in chosen]
        return recovered(usable.facts, copies)
    except (ValueError, OSError) as error:
        raise OperatorError(
            f"cannot recover key {root.facts.key_id}: {error}",
            "Nothing was written. Run mpc-recover inspect again.",
        ) from None


def at_path(root: PrivateKey, path: str | None, network: Network | None) -> PrivateKey:
    """Return the child at a path, or the key itself for no path. Raise OperatorError."""
    if path is None:
        return root
    try:
        return child_of(root, parse_path(path), network or root.network)
    except ValueError as error:
        raise OperatorError(f"--path {path}: {error}", "See mpc-recover recover --help.") from None


def network_of(network: str | None, path: str | None) -> Network | None:
    """Return the network that an option names. Raise OperatorError."""
    if network is None:
        return None
    if path is None:
        raise OperatorError("--network is for a derived key", "Leave it out, or give --path too.")
    for each in Network:
        if each.value.lower() == network.lower():
            return each
    raise OperatorError(
        f"{network} is not a network",
        f"Choose one of: {', '.join(each.value for each in Network)}.",
    )


def request_of(
    message: str | None, digest: str | None, transaction: str | None, hash_function: str | None
) -> SignRequest:
    """Return what the options ask to be signed, as a request of the API. Raise OperatorError."""
    given = {"Message": message, "Hash": digest, "Transaction": transaction}
    bodies = [
        {"kind": kind, kind.lower(): content}
        for kind, content in given.items()
        if content is not None
    ]
    if len(bodies) != 1:
        raise OperatorError(
            "nothing to sign, or several things", "Give one of --message, --hash, --transaction."
        )
    if hash_function is not None:
        bodies[0]["hash_function"] = hash_function
    try:
        return CREATE_SIGNATURE.validate_python(bodies[0])
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        raise OperatorError(
            f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg'].removeprefix('Value error, ')}",
            "See mpc-recover sign --help.",
        ) from None
