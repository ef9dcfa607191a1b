//! The log: one line for each call. It never holds a PIN, key bytes, or data.

use std::fs::OpenOptions;
use std::io::Write;

use cryptoki_sys::CK_RV;

use crate::real;

/// Append "PROCESS FUNCTION OUTCOME RULE" to the log. RULE is "-" without a rule.
pub fn write(function: &str, outcome: &str, rule: Option<u64>) {
    let rule = rule.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let line = format!("{} {function} {outcome} {rule}\n", std::process::id());
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(real::folder().join("log"));
    // One write(2) with O_APPEND: lines of several processes never mix.
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("faulty-pkcs11: cannot write the log: {error}");
    }
}

/// A return code as the log has it.
pub fn code(code: CK_RV) -> String {
    format!("{code:#010x}")
}
