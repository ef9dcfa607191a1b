//! The four ceremonies as Python classes over one base.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyFrozenSet, PyMapping};

use super::errors::raised;
use super::share::{Share, bytes_by_index};
use mpc_native::ceremonies;
use mpc_native::errors::{Failure, Result};
use mpc_native::messages::{Arrived, Outgoing};
use mpc_native::protocol::Protocol;
use mpc_native::session::{Product, Session as Part};

/// The messages that one exchange sends.
#[pyclass(frozen, module = "mpc._native")]
pub struct Messages {
    outgoing: Outgoing,
}

#[pymethods]
impl Messages {
    #[getter]
    fn broadcast<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = self.outgoing.broadcast.as_ref();
        PyBytes::new(py, bytes.map_or(&[], |bytes| bytes))
    }

    #[getter]
    fn private<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let views: BTreeMap<u8, &[u8]> = self
            .outgoing
            .private
            .iter()
            .map(|(recipient, bytes)| (*recipient, &bytes[..]))
            .collect();
        bytes_by_index(py, &views)
    }
}

#[pyclass(frozen, subclass, name = "_Session", module = "mpc._native")]
pub struct Session {
    part: Mutex<Part>,
    exchanges: u8,
    guarded: &'static [u8],
}

impl Session {
    /// Makes a session, and releases the interpreter lock meanwhile.
    fn make(py: Python<'_>, make: impl FnOnce() -> Result<Part> + Send) -> PyResult<Self> {
        let part = py
            .detach(|| mpc_native::session::guarded(make))
            .map_err(|failure| raised(py, failure))?;
        Ok(Self {
            exchanges: part.exchanges,
            guarded: part.guarded,
            part: Mutex::new(part),
        })
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Part) -> Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let mut part = self
                .part
                .try_lock()
                .map_err(|_| Failure::misuse("the session is in use by another thread"))?;
            call(&mut part)
        })
        .map_err(|failure| raised(py, failure))
    }
}

#[pymethods]
impl Session {
    #[getter]
    fn exchanges(&self) -> u8 {
        self.exchanges
    }

    #[getter]
    fn guarded<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        PyFrozenSet::new(py, self.guarded.iter().copied().collect::<BTreeSet<u8>>())
    }

    fn start(&self, py: Python<'_>) -> PyResult<Messages> {
        let outgoing = self.with(py, Part::start)?;
        Ok(Messages { outgoing })
    }

    fn advance(
        &self,
        py: Python<'_>,
        incoming: &Bound<'_, PyMapping>,
    ) -> PyResult<Option<Messages>> {
        let mut messages: BTreeMap<u8, (PyBackedBytes, PyBackedBytes)> = BTreeMap::new();
        for item in incoming.items()?.iter() {
            let (sender, both) = item.extract()?;
            messages.insert(sender, both);
        }
        let arrived: Arrived<'_> = messages
            .iter()
            .map(|(sender, (broadcast, private))| (*sender, (&broadcast[..], &private[..])))
            .collect();
        let outgoing = self.with(py, |part| part.advance(&arrived))?;
        Ok(outgoing.map(|outgoing| Messages { outgoing }))
    }

    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.with(py, Part::result)? {
            Product::Share(share) => Bound::new(py, Share::new(*share))?.into_any(),
            Product::Signature(bytes) => PyBytes::new(py, &bytes.into_bytes()).into_any(),
            Product::Nothing => py.None().into_bound(py),
        })
    }
}

#[pyclass(frozen, extends = Session, module = "mpc._native")]
pub struct Dkg;

#[pymethods]
impl Dkg {
    #[new]
    fn new(
        py: Python<'_>,
        protocol: &str,
        index: u8,
        threshold: u8,
        signers: u8,
        session_id: &[u8],
    ) -> PyResult<PyClassInitializer<Self>> {
        let session = Session::make(py, || {
            let protocol = Protocol::from_name(protocol)?;
            ceremonies::dkg(protocol, index, (threshold, signers), session_id)
        })?;
        Ok(PyClassInitializer::from(session).add_subclass(Self))
    }
}

#[pyclass(frozen, extends = Session, module = "mpc._native")]
pub struct Signing;

#[pymethods]
impl Signing {
    #[new]
    #[pyo3(signature = (share, participants, message, session_id, path = Vec::new()))]
    fn new(
        py: Python<'_>,
        share: &Share,
        participants: Vec<u32>,
        message: &[u8],
        session_id: &[u8],
        path: Vec<u32>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let share = share.inner.clone();
        let session = Session::make(py, move || {
            ceremonies::signing(&share, indices(participants)?, message, session_id, &path)
        })?;
        Ok(PyClassInitializer::from(session).add_subclass(Self))
    }
}

#[pyclass(frozen, extends = Session, module = "mpc._native")]
pub struct Refresh;

#[pymethods]
impl Refresh {
    #[new]
    fn new(py: Python<'_>, share: &Share, session_id: &[u8]) -> PyResult<PyClassInitializer<Self>> {
        let share = share.inner.clone();
        let session = Session::make(py, move || ceremonies::refresh(&share, session_id))?;
        Ok(PyClassInitializer::from(session).add_subclass(Self))
    }
}

#[pyclass(frozen, extends = Session, module = "mpc._native")]
pub struct Repair;

#[pymethods]
impl Repair {
    #[new]
    fn new(
        py: Python<'_>,
        protocol: &str,
        index: u8,
        target: u8,
        helpers: Vec<u32>,
        share: Option<&Share>,
        session_id: &[u8],
    ) -> PyResult<PyClassInitializer<Self>> {
        let share = share.map(|share| share.inner.clone());
        let session = Session::make(py, move || {
            let protocol = Protocol::from_name(protocol)?;
            let helpers = indices(helpers)?;
            ceremonies::repair(
                protocol,
                index,
                target,
                &helpers,
                share.as_deref(),
                session_id,
            )
        })?;
        Ok(PyClassInitializer::from(session).add_subclass(Self))
    }
}

/// Converts indices. With `Vec<u8>` as the argument, PyO3 would accept bytes too.
pub fn indices(numbers: Vec<u32>) -> Result<Vec<u8>> {
    numbers
        .into_iter()
        .map(|number| u8::try_from(number).map_err(|_| Failure::misuse("an index over 255")))
        .collect()
}
