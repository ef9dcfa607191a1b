//! One call: what the rules do before, during and after the real module's work.

use std::thread::sleep;
use std::time::Duration;

use cryptoki_sys::{CK_RV, CKR_BUFFER_TOO_SMALL, CKR_GENERAL_ERROR};

use crate::log;
use crate::script::{Action, Shape};
use crate::seen::Seen;
use crate::state::{self, Due};

/// These end their operation also when they fail (PKCS#11 3.1, section 5.2).
const ENDING: [&str; 5] = ["C_Sign", "C_Verify", "C_Encrypt", "C_Decrypt", "C_Digest"];
/// A forked child ends by itself after these seconds, also when its test forgets it.
const CHILD_SECONDS: u32 = 300;

/// Do one call as the rules say. `real` has the real module do it, changed by the shapes.
pub fn call(function: &str, seen: &Seen, real: impl FnOnce(&[Shape]) -> CK_RV) -> CK_RV {
    let due = match state::due(function, seen) {
        Ok(due) => due,
        Err(problem) => {
            eprintln!("faulty-pkcs11: {problem}");
            return CKR_GENERAL_ERROR;
        }
    };
    let shapes: Vec<Shape> = due.iter().filter_map(Due::shape).collect();
    if seen.asks_length {
        let code = real(&shapes);
        log::write(function, &log::code(code), None);
        return code;
    }
    let shaped = due.iter().find(|each| each.shape().is_some());
    let shaping_rule = shaped.map(|each| each.rule);
    let (after, before): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|each| each.after);
    if let Some((code, rule)) = act(function, &before) {
        if ENDING.contains(&function) && code != CKR_BUFFER_TOO_SMALL {
            real(&[]); // or the real module would take the next operation for a second one
        }
        log::write(function, &log::code(code), Some(rule));
        return code;
    }
    let answer = real(&shapes);
    let (code, rule) = match act(function, &after) {
        Some((code, rule)) => (code, Some(rule)),
        None => (answer, shaping_rule),
    };
    log::write(function, &log::code(code), rule);
    code
}

impl Due {
    fn shape(&self) -> Option<Shape> {
        match &self.action {
            Action::Shape(shape) => Some(shape.clone()),
            _ => None,
        }
    }
}

/// Do each thing in turn. Return the code and the rule of the first that answers the call.
fn act(function: &str, due: &[Due]) -> Option<(CK_RV, u64)> {
    for each in due {
        let log = |outcome: &str| log::write(function, outcome, Some(each.rule));
        match each.action {
            Action::Return(code) => return Some((code, each.rule)),
            Action::DelayMilliseconds(milliseconds) => {
                log("delay");
                sleep(Duration::from_millis(milliseconds));
            }
            Action::Hang => {
                log("hang");
                loop {
                    sleep(Duration::from_secs(3600));
                }
            }
            Action::Crash => {
                log("crash");
                std::process::abort();
            }
            Action::Fork { parent_dies } => {
                log(&format!("child={}", fork()));
                if parent_dies {
                    std::process::abort();
                }
            }
            Action::Shape(_) => {}
        }
    }
    None
}

/// Fork a child with copies of all descriptors. Return its process id, -1 if there is none.
fn fork() -> libc::pid_t {
    match unsafe { libc::fork() } {
        0 => loop {
            unsafe {
                libc::alarm(CHILD_SECONDS);
                libc::pause();
            }
        },
        child => child,
    }
}
