//! Every function of PKCS#11 2.40, passed to the real module through `call`.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::call::call;
use crate::seen::Seen;
use crate::{attributes, gcm, real, sessions, slots, vendor};

/// Defines each function, and the list of all. After `=>`: what the call shows to a rule. After
/// `through`: what does the call with the real module when rules may change its work.
macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*)
        $(=> $seen:expr)? $(, through $shaping:path)?;)*) => {
        $(
            // Not every function has what it shows in its arguments.
            #[allow(non_snake_case, unused_unsafe)]
            unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                let seen = functions!(@seen $($seen)?);
                call(stringify!($name), &seen, |shapes| {
                    functions!(@real $name, shapes, ($($argument),*) $(, $shaping)?)
                })
            }
        )*

        pub static LIST: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            C_GetFunctionList: Some(crate::C_GetFunctionList),
            $($name: Some($name),)*
        };
    };
    (@seen) => { Seen::new() };
    (@seen $seen:expr) => { unsafe { $seen } };
    (@real $name:ident, $shapes:ident, ($($argument:ident),*)) => {{
        let _ = $shapes;
        match real::functions().$name {
            Some(function) => unsafe { function($($argument),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    }};
    (@real $name:ident, $shapes:ident, ($($argument:ident),*), $shaping:path) => {
        unsafe { $shaping($shapes, $($argument),*) }
    };
}

functions! {
    C_Initialize(a: *mut c_void);
    C_Finalize(reserved: *mut c_void)
        => Seen::new(), through sessions::finalize;
    C_GetInfo(a: *mut CK_INFO);
    C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG)
        => Seen::new().output(slots), through slots::list;
    C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO)
        => Seen::new().slot(slot), through slots::slot_info;
    C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO)
        => Seen::new().slot(slot), through slots::token_info;
    C_GetMechanismList(slot: CK_SLOT_ID, mechanisms: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG)
        => Seen::new().slot(slot).output(mechanisms), through slots::mechanisms;
    C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO)
        => Seen { mechanism: Some(mechanism), ..Seen::new() }.slot(slot), through vendor::mechanism_info;
    C_InitToken(slot: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR);
    C_InitPIN(session: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG);
    C_SetPIN(session: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR, e: CK_ULONG);
    C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify: CK_NOTIFY, session: *mut CK_SESSION_HANDLE)
        => Seen { read_only: flags & CKF_RW_SESSION == 0, ..Seen::new() }.slot(slot), through vendor::open;
    C_CloseSession(session: CK_SESSION_HANDLE)
        => Seen::new(), through sessions::close;
    C_CloseAllSessions(slot: CK_SLOT_ID)
        => Seen::new().slot(slot), through sessions::close_all;
    C_GetSessionInfo(session: CK_SESSION_HANDLE, b: *mut CK_SESSION_INFO);
    C_GetOperationState(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SetOperationState(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: CK_OBJECT_HANDLE, e: CK_OBJECT_HANDLE);
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, length: CK_ULONG)
        => Seen::new(), through vendor::login;
    C_Logout(session: CK_SESSION_HANDLE);
    C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE)
        => Seen::new().template(template, count);
    C_CopyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, copy: *mut CK_OBJECT_HANDLE)
        => Seen::new().object(session, object).template(template, count);
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE)
        => Seen::new().object(session, object);
    C_GetObjectSize(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ULONG);
    C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG)
        => Seen::new().object(session, object).reading(template, count), through attributes::get;
    C_SetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG)
        => Seen::new().object(session, object).template(template, count);
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG)
        => Seen::new().template(template, count);
    C_FindObjects(session: CK_SESSION_HANDLE, b: *mut CK_OBJECT_HANDLE, c: CK_ULONG, d: *mut CK_ULONG);
    C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).object(session, key), through gcm::encrypt_init;
    C_Encrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG)
        => Seen::new().data(data, length).output(output), through gcm::encrypt;
    C_EncryptUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_EncryptFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).object(session, key);
    C_Decrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG)
        => Seen::new().data(data, length).output(output);
    C_DecryptUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DecryptFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_DigestInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM)
        => Seen::new().mechanism(mechanism);
    C_Digest(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG)
        => Seen::new().data(data, length).output(output);
    C_DigestUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_DigestKey(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE);
    C_DigestFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).object(session, key);
    C_Sign(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG)
        => Seen::new().data(data, length).output(output);
    C_SignUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_SignFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SignRecoverInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_SignRecover(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_VerifyInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).object(session, key);
    C_Verify(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, signature: *mut CK_BYTE, signature_length: CK_ULONG)
        => Seen::new().data(data, length);
    C_VerifyUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_VerifyFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_VerifyRecoverInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_VerifyRecover(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DigestEncryptUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DecryptDigestUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_SignEncryptUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DecryptVerifyUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).template(template, count);
    C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE, count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG, key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).template(template, count).template(private, private_count);
    C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, wrapping_key: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, output: *mut CK_BYTE, output_length: *mut CK_ULONG)
        => Seen::new().mechanism(mechanism).object(session, wrapping_key).output(output), through vendor::wrap;
    C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, unwrapping_key: CK_OBJECT_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).object(session, unwrapping_key).data(data, length).template(template, count), through vendor::unwrap;
    C_DeriveKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, base_key: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE)
        => Seen::new().mechanism(mechanism).template(template, count);
    C_SeedRandom(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_GenerateRandom(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_GetFunctionStatus(session: CK_SESSION_HANDLE);
    C_CancelFunction(session: CK_SESSION_HANDLE);
    C_WaitForSlotEvent(flags: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void);
}
