//! One call: what the rules do before and after the real module's work.

use std::thread::sleep;
use std::time::Duration;

use cryptoki_sys::{CK_RV, CKR_BUFFER_TOO_SMALL, CKR_GENERAL_ERROR};

use crate::log;
use crate::script::Action;
use crate::seen::Seen;
use crate::state::{self, Due};

/// These end their operation also when they fail (PKCS#11 3.1, section 5.2).
const ENDING: [&str; 5] = ["C_Sign", "C_Verify", "C_Encrypt", "C_Decrypt", "C_Digest"];

/// Do one call as the rules say.
pub fn call(function: &str, seen: &Seen, real: impl FnOnce() -> CK_RV) -> CK_RV {
    let due = match state::due(function, seen) {
        Ok(due) => due,
        Err(problem) => {
            eprintln!("faulty-pkcs11: {problem}");
            return CKR_GENERAL_ERROR;
        }
    };
    let (after, before): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|each| each.after);
    if let Some((code, rule)) = act(function, &before) {
        if ENDING.contains(&function) && code != CKR_BUFFER_TOO_SMALL {
            real(); // or the real module would take the next operation for a second one
        }
        log::write(function, &format!("{code:#010x}"), Some(rule));
        return code;
    }
    let answer = real();
    let (code, rule) =
        act(function, &after).map_or((answer, None), |(code, rule)| (code, Some(rule)));
    log::write(function, &format!("{code:#010x}"), rule);
    code
}

/// Do each thing in turn. Return the code and the rule of the first that answers the call.
fn act(function: &str, due: &[Due]) -> Option<(CK_RV, u64)> {
    for each in due {
        match each.action {
            Action::Return(code) => return Some((code, each.rule)),
            Action::DelayMilliseconds(milliseconds) => {
                log::write(function, "delay", Some(each.rule));
                sleep(Duration::from_millis(milliseconds));
            }
            Action::Hang => {
                log::write(function, "hang", Some(each.rule));
                loop {
                    sleep(Duration::from_secs(3600));
                }
            }
            Action::Crash => {
                log::write(function, "crash", Some(each.rule));
                std::process::abort();
            }
        }
    }
    None
}
