//! How many sessions all processes have together.
//!
//! Every session holds the lock of a seat, which is a file. The kernel releases the lock when the
//! process ends, however it ends. A forked child shares the lock: it keeps its parent's sessions.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::{LazyLock, Mutex};

use cryptoki_sys::*;

use crate::real;
use crate::script::Shape;
use crate::state;

const SEATS: usize = 64;

static TAKEN: LazyLock<Mutex<HashMap<CK_SESSION_HANDLE, File>>> = LazyLock::new(Mutex::default);

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
    let Some(function) = real::functions().C_OpenSession else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    let (taken, free) = match look() {
        Ok(seats) => seats,
        Err(problem) => {
            eprintln!("faulty-pkcs11: cannot count the sessions: {problem}");
            return CKR_GENERAL_ERROR;
        }
    };
    let is_full = |shape: &Shape| matches!(shape, Shape::Sessions(most) if taken >= *most);
    if shapes.iter().any(is_full) {
        return CKR_SESSION_COUNT;
    }
    let code = unsafe { function(slot, flags, application, notify, session) };
    if let (CKR_OK, Some(seat)) = (code, free) {
        seats_of_this_process(|seats| seats.insert(unsafe { *session }, seat));
    }
    code
}

/// # Safety
/// As for C_CloseSession.
pub unsafe fn close(_: &[Shape], session: CK_SESSION_HANDLE) -> CK_RV {
    let Some(function) = real::functions().C_CloseSession else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    let code = unsafe { function(session) };
    if code == CKR_OK {
        seats_of_this_process(|seats| seats.remove(&session));
    }
    code
}

/// # Safety
/// As for C_CloseAllSessions. The real module has one token, as far as the seats know.
pub unsafe fn close_all(_: &[Shape], slot: CK_SLOT_ID) -> CK_RV {
    let Some(function) = real::functions().C_CloseAllSessions else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    seats_of_this_process(HashMap::clear);
    unsafe { function(slot) }
}

/// # Safety
/// As for C_Finalize.
pub unsafe fn finalize(_: &[Shape], reserved: *mut c_void) -> CK_RV {
    let Some(function) = real::functions().C_Finalize else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    seats_of_this_process(HashMap::clear);
    unsafe { function(reserved) }
}

fn seats_of_this_process<T>(change: impl FnOnce(&mut HashMap<CK_SESSION_HANDLE, File>) -> T) -> T {
    change(
        &mut TAKEN
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()),
    )
}

/// Count the taken seats, and take a free one. One process looks at a time.
fn look() -> std::io::Result<(usize, Option<File>)> {
    let folder = real::folder();
    let _turn = state::locked(&folder.join("seats"))?;
    let mut taken = 0;
    let mut free = None;
    for number in 0..SEATS {
        let seat = state::opened(&folder.join(format!("seat-{number}")))?;
        if unsafe { libc::flock(seat.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            taken += 1;
        } else if free.is_none() {
            free = Some(seat);
        }
    }
    Ok((taken, free))
}
