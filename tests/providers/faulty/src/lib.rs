//! A PKCS#11 module that passes every call to a real module, and misbehaves on command.
//!
//! README.md beside this folder explains the script that commands it.

mod attributes;
mod call;
mod functions;
mod gcm;
mod log;
mod real;
mod script;
mod seen;
mod sessions;
mod slots;
mod state;
mod vendor;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR};

/// The only symbol of a module that callers look up (PKCS#11 3.1, section 5.4).
///
/// # Safety
/// `list` must be NULL or point to memory for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    if let Err(problem) = real::load() {
        eprintln!("faulty-pkcs11: {problem}");
        return CKR_GENERAL_ERROR;
    }
    call::call("C_GetFunctionList", &seen::Seen::new(), |_| {
        unsafe { *list = (&raw const functions::LIST).cast_mut() };
        cryptoki_sys::CKR_OK
    })
}
