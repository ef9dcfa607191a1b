//! Slots that the real module does not have, and mechanisms that it has but does not list.

use std::ptr;

use cryptoki_sys::*;

use crate::real;
use crate::script::Shape;

/// # Safety
/// As for C_GetSlotList.
pub unsafe fn list(
    shapes: &[Shape],
    present: CK_BBOOL,
    slots: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    let Some(function) = real::functions().C_GetSlotList else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    unsafe {
        let added = shapes.iter().filter_map(|shape| match shape {
            Shape::Slot(slot, _) => Some(*slot),
            _ => None,
        });
        let mut all: Vec<CK_SLOT_ID> = added.collect();
        match whole(|out, length| function(present, out, length)) {
            Ok(found) => all.extend(found),
            Err(code) => return code,
        }
        put(&all, slots, count)
    }
}

/// # Safety
/// As for C_GetMechanismList.
pub unsafe fn mechanisms(
    shapes: &[Shape],
    slot: CK_SLOT_ID,
    mechanisms: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    let Some(function) = real::functions().C_GetMechanismList else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    unsafe {
        if added(shapes, slot).is_some() {
            return put(&[CKM_AES_KEY_GEN], mechanisms, count);
        }
        match whole(|out, length| function(slot, out, length)) {
            Ok(mut found) => {
                found.retain(|each| !shapes.contains(&Shape::NoMechanism(*each)));
                put(&found, mechanisms, count)
            }
            Err(code) => code,
        }
    }
}

/// # Safety
/// As for C_GetSlotInfo.
pub unsafe fn slot_info(shapes: &[Shape], slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    if added(shapes, slot).is_some() {
        let mut shown: CK_SLOT_INFO = unsafe { std::mem::zeroed() };
        shown.slotDescription = padded(b"added by the faulty module");
        shown.manufacturerID = padded(b"custody");
        shown.flags = CKF_TOKEN_PRESENT;
        unsafe { ptr::write(info, shown) };
        return CKR_OK;
    }
    match real::functions().C_GetSlotInfo {
        Some(function) => unsafe { function(slot, info) },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

/// # Safety
/// As for C_GetTokenInfo.
pub unsafe fn token_info(shapes: &[Shape], slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    if let Some(label) = added(shapes, slot) {
        let mut shown: CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
        shown.label = padded(label);
        shown.manufacturerID = padded(b"custody");
        shown.model = padded(b"faulty");
        shown.serialNumber = padded(b"0");
        shown.utcTime = padded(b"");
        shown.flags = CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED | CKF_LOGIN_REQUIRED;
        unsafe { ptr::write(info, shown) };
        return CKR_OK;
    }
    match real::functions().C_GetTokenInfo {
        Some(function) => unsafe { function(slot, info) },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

/// The label of the token in an added slot; None for a slot of the real module.
fn added(shapes: &[Shape], slot: CK_SLOT_ID) -> Option<&[u8]> {
    shapes.iter().find_map(|shape| match shape {
        Shape::Slot(each, label) if *each == slot => Some(&label[..]),
        _ => None,
    })
}

/// Text as PKCS#11 has it: filled up with spaces.
fn padded<const SIZE: usize>(text: &[u8]) -> [u8; SIZE] {
    let mut field = [b' '; SIZE];
    let length = text.len().min(SIZE);
    field[..length].copy_from_slice(&text[..length]);
    field
}

/// A list of the real module: first its length is asked for, then its numbers.
fn whole(
    mut ask: impl FnMut(*mut CK_ULONG, *mut CK_ULONG) -> CK_RV,
) -> Result<Vec<CK_ULONG>, CK_RV> {
    let mut length: CK_ULONG = 0;
    let mut list = Vec::new();
    for _ in 0..2 {
        list.resize(length as usize, 0);
        let out = if list.is_empty() {
            ptr::null_mut()
        } else {
            list.as_mut_ptr()
        };
        let code = ask(out, &mut length);
        if code != CKR_OK {
            return Err(code);
        }
    }
    list.truncate(length as usize);
    Ok(list)
}

/// Answer with a list, or with its length alone (PKCS#11 3.1, section 5.2).
unsafe fn put(list: &[CK_ULONG], out: *mut CK_ULONG, length: *mut CK_ULONG) -> CK_RV {
    let room = unsafe { length.replace(list.len() as CK_ULONG) };
    if out.is_null() {
        return CKR_OK;
    }
    if room < list.len() as CK_ULONG {
        return CKR_BUFFER_TOO_SMALL;
    }
    unsafe { ptr::copy_nonoverlapping(list.as_ptr(), out, list.len()) };
    CKR_OK
}
