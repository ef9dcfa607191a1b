"""The page of HSM profiles."""

from custody.pkcs11.profiles import Profile, profiles
from devstack.reference.markdown import code, page, table

INTRODUCTION = """\
`hsm-driver profile show NAME` prints the same. *Tested here* says that our tests or a trial used
this HSM. What comes *from the vendor's documents* was never tried here: `hsm-driver try-token`
shows what your token does."""


def hsm_profiles_page() -> dict[str, str]:
    """Return the page's text by its path under docs/."""
    parts = [part for name, each in profiles().items() for part in _section(name, each)]
    return {"reference/hsm-profiles.md": page("HSM profiles", INTRODUCTION, *parts)}


def _section(name: str, profile: Profile) -> list[str]:
    module = [] if profile.module is None else [f'module = "{profile.module}"']
    lines = [*module, *profile.settings]
    rows = [
        (about, what, "tested" if source == "tested" else f"[{source}]")
        for about, what, source in profile.facts
    ]
    sources = [f"{number}. {source}" for number, source in enumerate(profile.sources, 1)]
    return [
        f"## {profile.title}",
        f"`{name}`: *{profile.status}*.",
        code("\n".join(["[hsm]", *lines]), "toml") if lines else "",
        table(("about", "what", "source"), rows),
        "\n".join(sources),
    ]
