"""The cache of unwrapped keys is bounded in number and in seconds, and leaves no key behind."""

from dataclasses import dataclass

from custody.pkcs11.key_cache import KeyCache
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import ECDSA_SECP256K1, Protection


@dataclass
class SessionObject:
    """Stands for an object of a session; counts how often the object was destroyed."""

    destroyed: int = 0

    def destroy(self) -> None:
        self.destroyed += 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def wrapped(number: int) -> WrappedKey:
    return WrappedKey(
        algorithm=ECDSA_SECP256K1,
        public_key=bytes([2]) + number.to_bytes(32),
        protection=Protection.HSM,
        wrapped=b"wrapped",
        master_key="custody-1",
        mechanism="AES_KEY_WRAP_PAD",
    )


def test_the_key_that_was_idle_longest_is_destroyed_when_the_cache_is_full():
    cache = KeyCache(2, 60, Clock())
    objects = [SessionObject() for _ in range(3)]
    for number in (0, 1):
        cache.keep(wrapped(number), objects[number], cache.new_expiry())
    used = cache.take(wrapped(0))
    assert used is not None
    cache.keep(wrapped(0), *used)
    cache.keep(wrapped(2), objects[2], cache.new_expiry())
    assert [each.destroyed for each in objects] == [0, 1, 0]
    assert cache.take(wrapped(1)) is None


def test_a_key_expires_however_often_it_is_used():
    clock = Clock()
    cache, key = KeyCache(2, 60, clock), SessionObject()
    cache.keep(wrapped(0), key, cache.new_expiry())
    clock.now = 59.0
    used = cache.take(wrapped(0))
    assert used is not None
    cache.keep(wrapped(0), *used)
    assert cache.seconds_left() == 1.0
    clock.now = 60.0
    assert cache.take(wrapped(0)) is None
    assert key.destroyed == 1
    assert cache.seconds_left() is None


def test_a_cache_of_no_keys_destroys_each_key_at_once():
    cache, key = KeyCache(0, 60, Clock()), SessionObject()
    cache.keep(wrapped(0), key, cache.new_expiry())
    assert key.destroyed == 1
    assert cache.seconds_left() is None


def test_clearing_destroys_every_key_once():
    cache = KeyCache(4, 60, Clock())
    objects = [SessionObject() for _ in range(3)]
    for number, each in enumerate(objects):
        cache.keep(wrapped(number), each, cache.new_expiry())
    cache.clear()
    cache.clear()
    assert [each.destroyed for each in objects] == [1, 1, 1]
