"""The [certificates] section of a configuration file, and its text in a new file."""

from typing import Annotated

from pydantic import Field

from custody.runtime.configuration import Section

CERTIFICATES_EXPLAINED = """\
# Days before the end of a certificate at which /readyz says "degraded", and the log warns each day.
# A certificate that lives shorter counts from the last third of its life on. Changed certificates,
# keys, roots and CRLs are taken up without a restart: docs/how-to/certificates.md.
# [certificates]
# leaf_days = 14         # leafs and CRLs
# authority_days = 60    # intermediates and roots
"""


class CertificatesSection(Section):
    """[certificates]: the days before an end at which the daemon says that it is degraded."""

    leaf_days: Annotated[int, Field(ge=0, le=3650)] = 14
    """For leafs and CRLs."""
    authority_days: Annotated[int, Field(ge=0, le=3650)] = 60
    """For intermediates and roots: a new one takes a ceremony, and a visit to each host."""
