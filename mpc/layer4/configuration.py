"""The text of a new section [layer4]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from custody.runtime.errors import ConfigurationError, OperatorError
from custody.runtime.toml import quoted

if TYPE_CHECKING:
    from mpc.layer4.settings import Layer4Section

OTHER_PREFIX = "not-this-signers/"
SECTION = """
[layer4]
# Layer 4: a copy of each share, encrypted to the customer's own key, in the customer's own bucket.
# No key becomes Active before the bucket has this signer's copy.
endpoint = {endpoint}
region = {region}
bucket = {bucket}
# This signer's own prefix: its credentials may put objects below it, and nothing else.
prefix = {prefix}
# "path": https://endpoint/bucket/name; "virtual": https://bucket.endpoint/name.
addressing = {addressing}
# Root of the endpoint's certificate; without it: the public roots.
{ca}
# The customer's Ed25519 public key. Compare its fingerprint: {fingerprint}
customer_key_file = {customer_key}
# A file of mode 0600 in the form of ~/.aws/credentials, or credentials_credential = "<name>" for
# systemd's LoadCredential=.
{credentials}
"""


@dataclass(frozen=True, kw_only=True)
class NewLayer4:
    """The facts that `mpc-signer layer4 init` asks for: each field is an option of the command."""

    customer_key: Annotated[
        Path, typer.Option(help="The customer's Ed25519 public key: OpenSSH (.pub) or PEM.")
    ]
    endpoint: Annotated[str, typer.Option(help="For example https://s3.eu-central-1.amazonaws.com")]
    region: Annotated[str, typer.Option(help="The bucket's region.")]
    bucket: Annotated[str, typer.Option(help="The customer's bucket.")]
    prefix: Annotated[str, typer.Option(help="This signer's own prefix, for example signer-1/")]
    credentials_file: Annotated[
        Path | None, typer.Option(help="A file of mode 0600, in the form of ~/.aws/credentials.")
    ] = None
    credential: Annotated[
        str | None, typer.Option(help="Name of a systemd credential, instead of a file.")
    ] = None
    ca: Annotated[
        Path | None, typer.Option(help="Root of the endpoint's certificate, if it is not public.")
    ] = None
    addressing: Annotated[
        Literal["path", "virtual"], typer.Option(help="Where the bucket's name is in a URL.")
    ] = "path"
    other_prefix: Annotated[
        str, typer.Option(help="Where nothing may be put; best another signer's prefix.")
    ] = OTHER_PREFIX
    print_only: Annotated[
        bool, typer.Option("--print", help="Check and print the section, and write nothing.")
    ] = False
    json: Annotated[bool, typer.Option("--json", help="For machines: one JSON document.")] = False


def layer4_section(new: NewLayer4) -> tuple[Layer4Section, str]:
    """Return the section and its text. Raise OperatorError for options that cannot be used."""
    from pydantic import ValidationError

    from mpc.layer4.customer_key import read_customer_key
    from mpc.layer4.settings import Layer4Section

    if new.other_prefix.startswith(new.prefix):
        raise OperatorError(
            f"{new.other_prefix} is below this signer's prefix",
            "Give another signer's prefix as --other-prefix.",
        )
    paths = {
        name: None if path is None else path.absolute()
        for name, path in (("ca", new.ca), ("credentials_file", new.credentials_file))
    }
    customer_key = new.customer_key.absolute()
    key = read_customer_key(customer_key)
    try:
        section = Layer4Section(
            endpoint=new.endpoint,
            region=new.region,
            bucket=new.bucket,
            prefix=new.prefix,
            addressing=new.addressing,
            customer_key_file=customer_key,
            credentials_credential=new.credential,
            **paths,
        )
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(map(str, fault['loc'])) or 'layer4'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise ConfigurationError(
            f"these options cannot be used:\n{faults}", "See mpc-signer layer4 init --help."
        ) from None
    credentials = (
        f"credentials_credential = {quoted(new.credential)}"
        if new.credential is not None
        else f"credentials_file = {quoted(paths['credentials_file'] or '')}"
    )
    text = SECTION.format(
        endpoint=quoted(new.endpoint),
        region=quoted(new.region),
        bucket=quoted(new.bucket),
        prefix=quoted(new.prefix),
        addressing=quoted(new.addressing),
        ca='# ca = "s3-ca.pem"' if paths["ca"] is None else f"ca = {quoted(paths['ca'])}",
        fingerprint=key.fingerprint,
        customer_key=quoted(customer_key),
        credentials=credentials,
    )
    return section, text


def add_section(path: Path, text: str) -> None:
    """Add a section to the end of a configuration file, which keeps its mode and its owner.

    Raise OSError. After a crash the old or the new contents exist.
    """
    from custody.runtime.configuration import replace_file

    before = path.read_bytes().rstrip(b"\n") + b"\n"
    replace_file(path, before + text.encode(), like_old=True)
