//! A key share for Python code, which can store and use the share, but not read or copy it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::errors::raised;
use mpc_native::errors::Failure;
use mpc_native::session::guarded;
use mpc_native::share::{Facts, Share as KeyShare};

#[pyclass(frozen, module = "mpc._native")]
pub struct Share {
    pub inner: Arc<KeyShare>,
}

impl Share {
    pub fn new(inner: KeyShare) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    fn facts(&self) -> &Facts {
        self.inner.facts()
    }
}

#[pymethods]
impl Share {
    #[staticmethod]
    fn load(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        py.detach(|| guarded(|| KeyShare::from_bytes(data)))
            .map(Self::new)
            .map_err(|failure| raised(py, failure))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py
            .detach(|| self.inner.to_bytes())
            .map_err(|failure: Failure| raised(py, failure))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn secret_share<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &*self.inner.secret_share())
    }

    #[getter]
    fn protocol(&self) -> &'static str {
        self.facts().protocol.name()
    }

    #[getter]
    fn index(&self) -> u8 {
        self.facts().index
    }

    #[getter]
    fn threshold(&self) -> u8 {
        self.facts().threshold
    }

    #[getter]
    fn signers(&self) -> u8 {
        self.facts().signers
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.facts().public_key)
    }

    #[getter]
    fn chain_code<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.facts().chain_code)
    }

    #[getter]
    fn verifying_shares<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        bytes_by_index(py, &self.facts().verifying_shares)
    }

    #[getter]
    fn is_repaired(&self) -> bool {
        self.facts().origin.repaired
    }

    #[getter]
    fn taproot_tweaked(&self) -> bool {
        self.facts().origin.taproot_tweaked
    }

    fn transcript<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.facts().transcript())
    }

    fn __repr__(&self) -> String {
        let facts = self.facts();
        format!(
            "<Share {} of {}, threshold {}, {}>",
            facts.index,
            facts.signers,
            facts.threshold,
            facts.protocol.name()
        )
    }

    /// Stops pickle and copy.
    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a share is neither pickled nor copied",
        ))
    }
}

pub fn bytes_by_index<'py, T: AsRef<[u8]>>(
    py: Python<'py>,
    map: &BTreeMap<u8, T>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (index, bytes) in map {
        dict.set_item(index, PyBytes::new(py, bytes.as_ref()))?;
    }
    Ok(dict)
}
