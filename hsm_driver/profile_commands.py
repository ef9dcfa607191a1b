"""hsm-driver profile: what is known of the HSMs of several vendors."""

from __future__ import annotations

from typing import Annotated

import typer

from custody.runtime.console import (
    Json,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError
from hsm_driver.completion import profiles_with

WHERE = (
    "Set these lines in the section [hsm] of the configuration. Replace the line of a setting that "
    "is there already: TOML takes each setting once"
)


def application() -> typer.Typer:
    app = new_application("What is known of HSMs. `try-token` shows what yours does.")

    @app.command("list")
    def list_(as_json: Json = False) -> None:
        """List the profiles."""
        from custody.pkcs11.profiles import profiles

        rows = [(name, each.title, each.status) for name, each in profiles().items()]
        if as_json:
            print_json([dict(zip(("name", "title", "status"), row, strict=True)) for row in rows])
        else:
            print_table(["name", "HSM", "status"], rows)

    @app.command()
    def show(
        name: Annotated[
            str, typer.Argument(help="As `profile list` shows it.", autocompletion=profiles_with)
        ],
        as_json: Json = False,
    ) -> None:
        """Show the usual module, recommended settings of [hsm], and each fact with its source."""
        from custody.pkcs11.profiles import profiles

        with operator_errors():
            profile = profiles().get(name)
            if profile is None:
                raise OperatorError(
                    f"there is no profile {name!r}", f"There are: {', '.join(profiles())}."
                )
        if as_json:
            print_json(profile.model_dump())
            return
        out.print(f"{profile.title}: {profile.status}", markup=False)
        if lines := profile.lines:
            out.print(f"{WHERE}:", markup=False)
            # typer.echo: the console would break a line, which is then not TOML any more
            typer.echo("\n".join(lines))
        print_table(
            ["about", "what", "source"],
            [(about, what, profile.source_of(source)) for about, what, source in profile.facts],
        )

    return app
