"""All generated pages but guards.md, which `make mutants` writes."""

from pathlib import Path

from devstack.reference.commands import command_pages
from devstack.reference.decision_records import decision_records_page
from devstack.reference.error_codes import error_codes_page
from devstack.reference.hsm_errors import hsm_errors_page
from devstack.reference.hsm_profiles import hsm_profiles_page
from devstack.reference.http_api import http_api_pages
from devstack.reference.metrics import metrics_page
from devstack.reference.settings import settings_pages

DOCS = Path(__file__).parents[2] / "docs"


def generated_pages() -> dict[str, str]:
    """Return each page's text by its path under docs/."""
    return {
        **command_pages(),
        **settings_pages(),
        **error_codes_page(),
        **hsm_errors_page(),
        **metrics_page(),
        **http_api_pages(),
        **decision_records_page(),
        **hsm_profiles_page(),
    }
