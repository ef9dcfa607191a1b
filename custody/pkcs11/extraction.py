"""Extractions of keys, really tried on the token's own master keys. Workers only.

Nothing is left behind: what a successful attempt made is destroyed, what it changed is set back.
What a killed attempt left is removed before the next one.
"""

from collections.abc import Callable
from functools import partial

from custody.pkcs11 import extraction_of_master_keys as of_master_keys
from custody.pkcs11 import extraction_of_stored_keys as of_stored_keys
from custody.pkcs11.attacker import Attacker, CannotTry, Refused, answered, remove_left_over
from custody.pkcs11.master_key import MasterKey, newest
from custody.pkcs11.messages import Extracted, Hello
from custody.pkcs11.session_errors import is_loss, name_of
from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error

ATTEMPTS: dict[str, Callable[[Attacker], str]] = {
    "read-master-key": of_master_keys.read_master_key,
    "wrap-master-key": of_master_keys.wrap_master_key,
    "change-master-key": of_master_keys.change_master_key,
    "copy-master-key": of_master_keys.copy_master_key,
    "decrypt-stored-key": of_master_keys.decrypt_stored_key,
    "unwrap-readable": of_stored_keys.unwrap_readable,
    "unwrap-public": of_stored_keys.unwrap_public,
    "unwrap-on-token": of_stored_keys.unwrap_on_token,
    "unwrap-as-secret": of_stored_keys.unwrap_as_secret,
    "unwrap-as-other-type": of_stored_keys.unwrap_as_other_type,
    "unwrap-for-other-use": of_stored_keys.unwrap_for_other_use,
    "derive-by-unwrapped-key": of_stored_keys.derive_by_unwrapped_key,
    "unwrap-extractable": of_stored_keys.unwrap_extractable,
    "change-unwrapped-key": of_stored_keys.change_unwrapped_key,
}
"""By the names of custody.pkcs11.extraction_attempts, which says what success means."""


def attempt(session: Session, hello: Hello, masters: list[MasterKey], name: str) -> Extracted:
    """Try one on every version. Raises PKCS11Error when the session is lost."""
    remove_left_over(session)
    wraps = [key for key in masters if not key.is_host]
    succeeded, refusals, untried = {}, set(), []
    for wrapping in wraps:
        hosts = [key for key in masters if key.is_host and key.version == wrapping.version]
        try:
            attacker = Attacker(session, hello, wrapping, hosts)
            succeeded[wrapping.name] = answered(partial(ATTEMPTS[name], attacker))
        except Refused as refused:
            refusals.add(str(refused))
            if isinstance(refused, CannotTry):
                untried.append(wrapping.name)
        except PKCS11Error as error:
            if is_loss(error):
                raise
            refusals.add(name_of(error))
    last = newest(wraps, is_host=False)
    return Extracted(
        newest="" if last is None else last.name,
        succeeded=succeeded,
        refusals=sorted(refusals),
        untried=untried,
    )
