"""The page of HSM profiles."""

from custody.pkcs11.profiles import Profile, profiles
from devstack.reference.markdown import code, page, table

INTRODUCTION = """\
`hsm-driver profile show NAME` prints the lines and the facts of one HSM. Set the lines in the
section `[hsm]` of the configuration. Replace the line of a setting that is there already, such as
`module` or `host_signing`: TOML takes each setting once. *Tested here* says that our
tests or a trial used this HSM. What comes *from the vendor's documents* was never tried here:
`hsm-driver try-token` shows what your token does."""


def hsm_profiles_page() -> dict[str, str]:
    """Return the page's text by its path under docs/."""
    parts = [part for name, each in profiles().items() for part in _section(name, each)]
    return {"reference/hsm-profiles.md": page("HSM profiles", INTRODUCTION, *parts)}


def _section(name: str, profile: Profile) -> list[str]:
    rows = [
        (about, what, "tested" if source == "tested" else f"[{source}]")
        for about, what, source in profile.facts
    ]
    sources = [f"{number}. {source}" for number, source in enumerate(profile.sources, 1)]
    return [
        f"## {profile.title}",
        f"`{name}`: *{profile.status}*.",
        code("\n".join(profile.lines), "toml") if profile.lines else "",
        table(("about", "what", "source"), rows),
        "\n".join(sources),
    ]
