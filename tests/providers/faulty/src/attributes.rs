//! Attributes that are changed on their way out, or are not given.

use std::ptr;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CK_UNAVAILABLE_INFORMATION,
    CKA_LABEL, CKR_BUFFER_TOO_SMALL, CKR_FUNCTION_NOT_SUPPORTED, CKR_OK,
};

use crate::real;
use crate::script::Shape;

/// # Safety
/// As for C_GetAttributeValue.
pub unsafe fn get(
    shapes: &[Shape],
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let asked = match unsafe { template.as_ref() } {
        Some(_) => unsafe { std::slice::from_raw_parts_mut(template, count as usize) },
        None => &mut [],
    };
    let room: Vec<CK_ULONG> = asked.iter().map(|each| each.ulValueLen).collect();
    let mut code = unsafe { real_get(session, object, template, count) };
    let mut changed = false;
    for (attribute, room) in asked.iter_mut().zip(room) {
        for shape in shapes {
            match shape {
                Shape::Attribute(kind, value) if *kind == attribute.type_ => {
                    changed = true;
                    if unsafe { put(value, attribute, room) } != CKR_OK {
                        return CKR_BUFFER_TOO_SMALL;
                    }
                }
                Shape::NoAttribute(kind, why) if *kind == attribute.type_ => {
                    attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
                    return *why;
                }
                _ => {}
            }
        }
    }
    let is_known = |each: &CK_ATTRIBUTE| each.ulValueLen != CK_UNAVAILABLE_INFORMATION;
    if changed && asked.iter().all(is_known) {
        code = CKR_OK;
    }
    code
}

/// Answer with `value`, or with its length alone.
unsafe fn put(value: &[u8], attribute: &mut CK_ATTRIBUTE, room: CK_ULONG) -> CK_RV {
    let length = value.len() as CK_ULONG;
    if !attribute.pValue.is_null() {
        if length > room {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            return CKR_BUFFER_TOO_SMALL;
        }
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), attribute.pValue.cast(), value.len()) };
    }
    attribute.ulValueLen = length;
    CKR_OK
}

/// The CKA_LABEL of an object, as the real module has it.
pub fn label(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; 256];
    let mut asked = CK_ATTRIBUTE {
        type_: CKA_LABEL,
        pValue: value.as_mut_ptr().cast(),
        ulValueLen: value.len() as CK_ULONG,
    };
    if unsafe { real_get(session, object, &mut asked, 1) } != CKR_OK {
        return None;
    }
    value.truncate(asked.ulValueLen as usize);
    Some(value)
}

unsafe fn real_get(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    match real::functions().C_GetAttributeValue {
        Some(function) => unsafe { function(session, object, template, count) },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}
