"""[layer4]: the customer's key and bucket. Without this section Layer 4 is off."""

from pydantic import model_validator

from custody.runtime.configuration import ConfiguredPath
from custody.runtime.errors import ConfigurationError
from custody.s3.settings import S3Section


class Layer4Section(S3Section):
    """The bucket for share copies, and the key that they are encrypted to."""

    customer_key_file: ConfiguredPath

    @model_validator(mode="after")
    def _the_customers_key_is_good(self) -> "Layer4Section":
        from mpc.layer4.customer_key import read_customer_key

        try:
            read_customer_key(self.customer_key_file)
        except ConfigurationError as error:
            raise ValueError(error.what) from None
        return self
