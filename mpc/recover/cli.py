"""The commands of mpc-recover: offline, from a folder of files and the customer's private key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from custody.runtime.console import Json, fail, operator_errors, out, print_json, print_table
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError

app = new_application(
    """Recovers private keys from share copies (Layer 4), without any other part of this project.

    Needs a folder with the files of the customer's bucket, as downloaded, and the customer's
    private key (OpenSSH or PKCS#8). Uses no network, no database and no configuration, except
    restore-signer. Run it on a machine that is offline. Start with: mpc-recover inspect FOLDER
    --customer-key FILE
    """
)

Folder = Annotated[
    Path, typer.Argument(help="The downloaded files, in folders of any names.", show_default=False)
]
KeyFile = Annotated[
    Path,
    typer.Option(
        "--customer-key",
        help="The customer's private key: OpenSSH or PKCS#8 (PEM). A passphrase is asked for.",
        show_default=False,
    ),
]
WantedKey = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="Id, beginning of the id, public key or address.", show_default=False
    ),
]
ChildPath = Annotated[
    str | None, typer.Option("--path", help="Path to a derived key, as m/0/5 (ECDSA keys only).")
]


@app.command()
def inspect(folder: Folder, customer_key: KeyFile, as_json: Json = False) -> None:
    """Show which keys the files can recover, and which files are damaged or foreign.

    Prints no secret, and writes nothing. Decrypts every file, verifies the signature of its signer,
    and checks each share against the verifying shares and the public key.

    Exit code 0: every key is complete. 3: nothing is there. 4: every key can be recovered, but
    copies are missing or damaged. 5: no file is for this customer key. 6: a key cannot be recovered
    from these files.
    """
    from mpc.recover import opening, report

    with operator_errors():
        key = opening.unlock(customer_key)
        contents = opening.read_folder(folder, key)
    if as_json:
        print_json(report.as_json(contents, key.fingerprint))
    else:
        report.print_contents(contents)
    code = report.exit_code(contents)
    if (nothing := report.no_key(contents, str(folder), key.fingerprint)) is not None:
        fail(nothing, code)
    raise typer.Exit(code)


@app.command()
def recover(
    folder: Folder,
    key: WantedKey,
    customer_key: KeyFile,
    output: Annotated[
        Path,
        typer.Option(
            help="The file to write, mode 0600. It must not exist yet.", show_default=False
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            help="hex (the scalar), wif, descriptor (Bitcoin), pkcs8, keystore (Ethereum V3) or "
            "solana. pkcs8 and keystore are encrypted under a passphrase that is asked for."
        ),
    ] = "hex",
    path: ChildPath = None,
) -> None:
    """Write the private key of a wallet into a file.

    Uses the shares of t signers, of one set. The private key is checked against the public key
    before anything is written. An Ed25519 key made in shares is a scalar without a seed, so no
    Solana keypair exists: use form hex, or the command sign.
    """
    from custody.runtime.private_keys import ask_new_passphrase
    from mpc.recover import opening
    from mpc.recover.forms import ENCRYPTED, Form, NoSuchForm, check_form, encode

    with operator_errors():
        if form not in list(Form):
            raise OperatorError(f"{form} is not a form", f"Choose one of: {', '.join(Form)}.")
        unlocked = opening.unlock(customer_key)
        root = opening.root_key(folder, unlocked, key)
        private_key = opening.at_path(opening.private_key_of(root, unlocked), path, None)
        wanted = Form(form)
        try:
            check_form(private_key, wanted)
        except NoSuchForm as error:
            raise OperatorError(str(error), "Nothing was written. Choose another --form.") from None
        passphrase = ask_new_passphrase("the new file") if wanted in ENCRYPTED else ""
        opening.write_new(output, encode(private_key, wanted, passphrase))
    out.print(f"wrote {output}: the private key of 0x{private_key.public_key.hex()}", markup=False)


@app.command()
def sign(
    folder: Folder,
    key: WantedKey,
    customer_key: KeyFile,
    message: Annotated[
        str | None, typer.Option(help="A message: text, or hex bytes after 0x.")
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option("--hash", help="32 bytes, hex after 0x: the hash of a transaction."),
    ] = None,
    transaction: Annotated[
        str | None,
        typer.Option(help="A Solana transaction in the form that is signed, hex after 0x."),
    ] = None,
    hash_function: Annotated[
        str | None,
        typer.Option(help="Of a bare key's message: SHA-256, SHA3-256 or Keccak-256."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="The network of a derived key, if its root has another network or none."),
    ] = None,
    path: ChildPath = None,
    as_json: Json = False,
) -> None:
    """Sign one message, hash or transaction with a recovered key, and print the signature.

    The private key exists in memory alone. Give one of --message, --hash and --transaction. The
    signature is verified under the public key before it is printed: ECDSA with low s, BIP-340, or
    Ed25519. A network's message gets the network's own digest (EIP-191, BIP-137, BIP-322), as at
    the API. Sign the transactions of Ethereum and Bitcoin by their hash.
    """
    from custody.wire.digests import NotSignable
    from mpc.recover import opening
    from mpc.recover.signing import sign as sign_with

    with operator_errors():
        request = opening.request_of(message, digest, transaction, hash_function)
        child_network = opening.network_of(network, path)
        unlocked = opening.unlock(customer_key)
        root = opening.root_key(folder, unlocked, key)
        private_key = opening.at_path(opening.private_key_of(root, unlocked), path, child_network)
        try:
            signed, result = sign_with(private_key, request)
        except NotSignable as error:
            raise OperatorError(str(error), "See mpc-recover sign --help.") from None
    shown = {
        "public_key": "0x" + private_key.public_key.hex(),
        "digest": signed and "0x" + signed.hex(),
        **result.model_dump(mode="json"),
    }
    if as_json:
        print_json(shown)
    else:
        print_table(["field", "value"], list(shown.items()))


@app.command()
def drill(
    folder: Folder,
    customer_key: KeyFile,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the report as Markdown. The file must not exist yet."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Recover every key, sign with it, and forget it again: the check for every quarter.

    Prints and writes no private key. Every copy takes part in a quorum, and each recovered key
    signs a message of the drill; the signature is verified. The report names date, files with their
    SHA-256, keys and results, for an auditor. Exit codes are those of inspect.
    """
    from datetime import UTC, datetime

    from mpc.recover import drill_report, opening
    from mpc.recover.report import no_key, print_contents

    now = datetime.now(UTC)
    with operator_errors():
        key = opening.unlock(customer_key)
        contents = opening.read_folder(folder, key)
        results = opening.drilled(contents, key, now)
        if report is not None:
            text = drill_report.as_markdown(contents, results, key.fingerprint, now)
            opening.write_new(report, text.encode())
    code = drill_report.exit_code(contents, results)
    if as_json:
        print_json(drill_report.as_json(contents, results, key.fingerprint, now))
    else:
        print_contents(contents)
        out.print(f"drill {drill_report.VERDICTS[code]}", markup=False)
    if (nothing := no_key(contents, str(folder), key.fingerprint)) is not None:
        fail(nothing, code)
    raise typer.Exit(code)
