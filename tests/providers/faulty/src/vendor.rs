//! Tokens that differ from SoftHSM: a vendor's number of a mechanism, and other ways to log in.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::*;

use crate::real;
use crate::script::Shape;
use crate::sessions;

/// # Safety
/// As for C_GetMechanismInfo.
pub unsafe fn mechanism_info(
    shapes: &[Shape],
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    match real::functions().C_GetMechanismInfo {
        Some(function) => unsafe { function(slot, real_number(shapes, mechanism), info) },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

/// # Safety
/// As for C_WrapKey.
pub unsafe fn wrap(
    shapes: &[Shape],
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    match real::functions().C_WrapKey {
        Some(function) => unsafe {
            let mut own = renamed(shapes, mechanism);
            function(session, &mut own, wrapping_key, key, output, output_length)
        },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

/// # Safety
/// As for C_UnwrapKey.
#[allow(clippy::too_many_arguments)]
pub unsafe fn unwrap(
    shapes: &[Shape],
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    unwrapping_key: CK_OBJECT_HANDLE,
    data: *mut CK_BYTE,
    length: CK_ULONG,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    match real::functions().C_UnwrapKey {
        Some(function) => unsafe {
            let mut own = renamed(shapes, mechanism);
            function(
                session,
                &mut own,
                unwrapping_key,
                data,
                length,
                template,
                count,
                key,
            )
        },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

/// # Safety
/// As for C_Login.
pub unsafe fn login(
    shapes: &[Shape],
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    match (entered_pin(shapes), pin.is_null()) {
        (Some(entered), true) => unsafe { log_in(session, user, entered) },
        _ => match real::functions().C_Login {
            Some(function) => unsafe { function(session, user, pin, length) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        },
    }
}

/// # Safety
/// As for C_OpenSession.
pub unsafe fn open(
    shapes: &[Shape],
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let code = unsafe { sessions::open(shapes, slot, flags, application, notify, session) };
    match entered_pin(shapes) {
        Some(entered) if code == CKR_OK => match unsafe { log_in(*session, CKU_USER, entered) } {
            CKR_USER_ALREADY_LOGGED_IN => CKR_OK,
            code => code,
        },
        _ => code,
    }
}

unsafe fn log_in(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &[u8]) -> CK_RV {
    let mut own = pin.to_vec();
    match real::functions().C_Login {
        Some(function) => unsafe {
            function(session, user, own.as_mut_ptr(), own.len() as CK_ULONG)
        },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

/// The PIN that a person enters at the token itself.
fn entered_pin(shapes: &[Shape]) -> Option<&[u8]> {
    shapes.iter().find_map(|shape| match shape {
        Shape::EnteredPin(pin) => Some(&pin[..]),
        _ => None,
    })
}

unsafe fn renamed(shapes: &[Shape], mechanism: *const CK_MECHANISM) -> CK_MECHANISM {
    let mut own = unsafe { ptr::read(mechanism) };
    own.mechanism = real_number(shapes, own.mechanism);
    own
}

fn real_number(shapes: &[Shape], mechanism: CK_MECHANISM_TYPE) -> CK_MECHANISM_TYPE {
    let found = shapes.iter().find_map(|shape| match shape {
        Shape::Renamed(vendors, real) if *vendors == mechanism => Some(*real),
        _ => None,
    });
    found.unwrap_or(mechanism)
}
