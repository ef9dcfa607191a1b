//! Failures as Python exceptions: one exception for each thing that a caller can do about it.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use mpc_native::errors::Failure;

create_exception!(
    mpc._native,
    ProtocolAbort,
    PyException,
    "The protocol failed; a fresh ceremony may succeed. `culprits` are the indices to blame."
);
create_exception!(
    mpc._native,
    BanCounterparty,
    PyException,
    "Never again with `culprit`: it may be extracting bits of this key."
);
create_exception!(
    mpc._native,
    LocalMisuse,
    PyException,
    "Wrong arguments, wrong process, a spent session, a damaged share, or a panic."
);

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("ProtocolAbort", py.get_type::<ProtocolAbort>())?;
    module.add("BanCounterparty", py.get_type::<BanCounterparty>())?;
    module.add("LocalMisuse", py.get_type::<LocalMisuse>())
}

/// Returns the exception of a failure, with its attributes.
pub fn raised(py: Python<'_>, failure: Failure) -> PyErr {
    match failure {
        Failure::Misuse(reason) => LocalMisuse::new_err(reason),
        Failure::Ban { culprit, reason } => {
            let error = BanCounterparty::new_err(format!("ban participant {culprit}: {reason}"));
            with(py, error, &reason, |value| {
                value.setattr("culprit", culprit)
            })
        }
        Failure::Abort { culprits, reason } => {
            let error = ProtocolAbort::new_err(reason.clone());
            with(py, error, &reason, |value| {
                value.setattr("culprits", PyTuple::new(py, &culprits)?)
            })
        }
    }
}

fn with(
    py: Python<'_>,
    error: PyErr,
    reason: &str,
    set: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<()>,
) -> PyErr {
    let value = error.value(py);
    match set(value).and_then(|()| value.setattr("reason", reason)) {
        Ok(()) => error,
        Err(other) => other,
    }
}
