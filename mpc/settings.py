"""The signer's configuration file."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from custody.node.key_age import MAX_ROTATION_DAYS
from custody.node.settings import NodeSettings
from custody.pkcs11.token_section import TokenSection
from custody.runtime.configuration import ConfiguredPath, Section
from custody.runtime.tls import TlsFiles
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from mpc.layer4.settings import Layer4Section

DEFAULT_KEY_LABEL = "custody-signer"


class EncryptionHsmSection(TokenSection):
    """[encryption.hsm]: the token whose key encrypts data keys."""

    workers: Annotated[int, Field(ge=1, le=64)] | None = 1
    key_label: Annotated[str, Field(min_length=1)] = DEFAULT_KEY_LABEL


class EncryptionSection(Section):
    """[encryption]: the key for new shares, and earlier keys that shares may still need."""

    key: Literal["file", "hsm"] = "file"
    key_file: ConfiguredPath | None = None
    other_key_files: tuple[ConfiguredPath, ...] = ()
    backup_recipients: tuple[str, ...] = ()
    rotate_after_days: Annotated[int, Field(ge=0, le=MAX_ROTATION_DAYS)] = 365
    """0: the age of the key is never a warning."""
    hsm: EncryptionHsmSection | None = None

    @model_validator(mode="after")
    def _the_key_is_there(self) -> "EncryptionSection":
        if self.key == "file" and self.key_file is None:
            raise ValueError('give key_file, or key = "hsm" and [encryption.hsm]')
        if self.key == "hsm" and self.hsm is None:
            raise ValueError('key = "hsm" needs a section [encryption.hsm]')
        if self.key == "hsm" and self.key_file is not None:
            raise ValueError('with key = "hsm", name the key\'s file in other_key_files')
        return self


class QuorumSection(Section):
    min_threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)] = MIN_THRESHOLD
    min_unsigned_copy_threshold: Annotated[int | None, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)] = (
        None
    )
    """None: the threshold of the key that is copied."""


class DeliverySection(Section):
    name: Annotated[str, Field(min_length=1)]
    url: Annotated[str, Field(pattern=r"^https://[^/@]+/?$")]
    ca: ConfiguredPath
    crl: ConfiguredPath | None = None


class SignerSettings(NodeSettings):
    program: ClassVar[str] = "mpc-signer"

    encryption: EncryptionSection
    quorum: QuorumSection = QuorumSection()
    delivery: Annotated[tuple[DeliverySection, ...], Field(min_length=1)]
    layer4: Layer4Section | None = None

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "SignerSettings":
        names = [server.name for server in self.delivery]
        if len(set(names)) != len(names):
            raise ValueError("two delivery servers have the same name")
        return self

    @property
    def delivery_tls(self) -> dict[str, TlsFiles]:
        """Return the files of the connections to each delivery server, by name."""
        mine = self.control_plane
        return {
            each.name: TlsFiles(
                f"delivery {each.name}", mine.certificate, mine.private_key, each.ca, each.crl
            )
            for each in self.delivery
        }

    @property
    def tls(self) -> list[TlsFiles]:
        copies = None if self.layer4 is None else self.layer4.tls
        return [
            *super().tls,
            *self.delivery_tls.values(),
            *([] if copies is None else [copies]),
        ]
