//! Dealings: the functions of `mpc_native::dealing` for Python code.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyTuple};

use super::errors::raised;
use super::sessions::indices;
use super::share::{Share, bytes_by_index};
use mpc_native::dealing;
use mpc_native::protocol::Protocol;
use mpc_native::session::guarded;

/// What a dealer sends: commitments to all signers, and one sub-share to each signer.
#[pyclass(frozen, module = "mpc._native")]
pub struct Dealing {
    inner: dealing::Dealing,
}

#[pymethods]
impl Dealing {
    #[getter]
    fn commitments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let points = self.inner.commitments.iter();
        PyTuple::new(py, points.map(|point| PyBytes::new(py, point)))
    }

    #[getter]
    fn sub_shares<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let views: BTreeMap<u8, &[u8]> = self
            .inner
            .sub_shares
            .iter()
            .map(|(index, sub_share)| (*index, &sub_share[..]))
            .collect();
        bytes_by_index(py, &views)
    }
}

#[pyfunction]
pub fn deal(
    py: Python<'_>,
    share: &Share,
    quorum: Vec<u32>,
    threshold: u8,
    signers: u8,
) -> PyResult<Dealing> {
    let share = share.inner.clone();
    py.detach(|| guarded(|| dealing::deal(&share, &indices(quorum)?, (threshold, signers))))
        .map(|inner| Dealing { inner })
        .map_err(|failure| raised(py, failure))
}

#[pyfunction]
pub fn dealt_constant<'py>(
    py: Python<'py>,
    protocol: &str,
    quorum: Vec<u32>,
    index: u8,
    verifying_share: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let constant = py.detach(|| {
        guarded(|| {
            let protocol = Protocol::from_name(protocol)?;
            dealing::dealt_constant(protocol, &indices(quorum)?, index, verifying_share)
        })
    });
    match constant {
        Ok(constant) => Ok(PyBytes::new(py, &constant)),
        Err(failure) => Err(raised(py, failure)),
    }
}

type Received = (Option<PyBackedBytes>, Vec<PyBackedBytes>, PyBackedBytes);

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
#[pyo3(signature = (*, protocol, index, threshold, signers, public_key, chain_code, session_id, dealings))]
pub fn dealt_share(
    py: Python<'_>,
    protocol: &str,
    index: u8,
    threshold: u8,
    signers: u8,
    public_key: &[u8],
    chain_code: &[u8],
    session_id: &[u8],
    dealings: &Bound<'_, PyMapping>,
) -> PyResult<Share> {
    let mut received: BTreeMap<u8, Received> = BTreeMap::new();
    for item in dealings.items()?.iter() {
        let (dealer, dealing) = item.extract()?;
        received.insert(dealer, dealing);
    }
    let views = received
        .iter()
        .map(|(dealer, (expected, commitments, sub_share))| {
            let view = dealing::Received {
                expected: expected.as_deref(),
                commitments: commitments.iter().map(|point| &point[..]).collect(),
                sub_share,
            };
            (*dealer, view)
        })
        .collect();
    py.detach(|| {
        guarded(|| {
            let target = dealing::Target {
                protocol: Protocol::from_name(protocol)?,
                index,
                threshold,
                signers,
                public_key,
                chain_code,
                session_id,
            };
            dealing::dealt_share(&target, &views)
        })
    })
    .map(Share::new)
    .map_err(|failure| raised(py, failure))
}
