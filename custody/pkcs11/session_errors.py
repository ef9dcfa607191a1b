"""PKCS#11 errors that end a session, and errors of one operation. Workers only."""

from pkcs11 import exceptions as e

SESSION_LOST = (
    e.DeviceError,
    e.DeviceMemory,
    e.DeviceRemoved,
    e.HostMemory,
    e.KeyHandleInvalid,
    e.ObjectHandleInvalid,
    e.OperationActive,
    e.SessionClosed,
    e.SessionHandleInvalid,
    e.SlotIDInvalid,
    e.TokenNotPresent,
    e.TokenNotRecognised,
    e.UnwrappingKeyHandleInvalid,
    e.UserNotLoggedIn,
    e.WrappingKeyHandleInvalid,
)
"""After these nothing that the worker knows of the token can be relied on: it ends itself."""


class SessionLost(Exception):
    """The worker must be replaced; the operation may run again in another."""
