//! Tokens that choose the IV of AES-GCM themselves.

use std::collections::HashMap;
use std::ptr;
use std::sync::{LazyLock, Mutex};

use cryptoki_sys::*;

use crate::real;
use crate::script::Shape;

/// The IVs that follow the ciphertexts of sessions.
static APPENDED: LazyLock<Mutex<HashMap<CK_SESSION_HANDLE, Vec<u8>>>> =
    LazyLock::new(Mutex::default);

/// # Safety
/// As for C_EncryptInit.
pub unsafe fn encrypt_init(
    shapes: &[Shape],
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let Some(function) = real::functions().C_EncryptInit else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    appended(|sessions| sessions.remove(&session));
    let Some(parameters) = (unsafe { parameters(mechanism) }) else {
        return unsafe { function(session, mechanism, key) };
    };
    if shapes.contains(&Shape::IvWritten) {
        unsafe {
            ptr::copy_nonoverlapping(
                new_iv(parameters.ulIvLen as usize).as_ptr(),
                parameters.pIv,
                parameters.ulIvLen as usize,
            )
        };
    }
    let size = shapes.iter().find_map(|shape| match shape {
        Shape::IvAppended(size) => Some(*size),
        _ => None,
    });
    let Some(size) = size else {
        return unsafe { function(session, mechanism, key) };
    };
    let mut iv = new_iv(size);
    let mut own = *parameters;
    own.pIv = iv.as_mut_ptr();
    own.ulIvLen = size as CK_ULONG;
    own.ulIvBits = 8 * size as CK_ULONG;
    let mut changed = CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: (&raw mut own).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    };
    let code = unsafe { function(session, &mut changed, key) };
    if code == CKR_OK {
        appended(|sessions| sessions.insert(session, iv));
    }
    code
}

/// # Safety
/// As for C_Encrypt.
pub unsafe fn encrypt(
    _: &[Shape],
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    let Some(function) = real::functions().C_Encrypt else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    let iv = appended(|sessions| sessions.get(&session).cloned()).unwrap_or_default();
    let added = iv.len() as CK_ULONG;
    unsafe {
        if !output.is_null() {
            *output_length = (*output_length).saturating_sub(added);
        }
        let code = function(session, data, length, output, output_length);
        if code == CKR_OK {
            if !output.is_null() {
                ptr::copy_nonoverlapping(
                    iv.as_ptr(),
                    output.add(*output_length as usize),
                    iv.len(),
                );
                appended(|sessions| sessions.remove(&session));
            }
            *output_length += added;
        }
        code
    }
}

unsafe fn parameters<'a>(mechanism: *const CK_MECHANISM) -> Option<&'a CK_GCM_PARAMS> {
    let mechanism = unsafe { mechanism.as_ref() }?;
    let is_gcm = mechanism.mechanism == CKM_AES_GCM
        && mechanism.ulParameterLen as usize == size_of::<CK_GCM_PARAMS>();
    is_gcm.then(|| unsafe { &*mechanism.pParameter.cast() })
}

fn new_iv(size: usize) -> Vec<u8> {
    let mut iv = vec![0; size];
    let got = unsafe { libc::getrandom(iv.as_mut_ptr().cast(), iv.len(), 0) };
    assert_eq!(got, iv.len() as isize, "getrandom(2) failed");
    iv
}

fn appended<T>(change: impl FnOnce(&mut HashMap<CK_SESSION_HANDLE, Vec<u8>>) -> T) -> T {
    change(
        &mut APPENDED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()),
    )
}
