//! The Python module `mpc._native`. Its types are in `mpc/_native.pyi`.

mod dealings;
mod errors;
mod sessions;
mod share;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use errors::raised;
use mpc_native::protocol::{MAX_SIGNERS, Protocol};

/// Derives a child's public key along a path without hardened steps: CKDpub of BIP-32.
#[pyfunction]
fn derive_public_key(
    py: Python<'_>,
    public_key: &[u8],
    chain_code: &[u8],
    path: Vec<u32>,
) -> PyResult<Vec<u8>> {
    py.detach(|| {
        mpc_native::session::guarded(|| {
            mpc_native::derive_public_key(public_key, chain_code, &path)
        })
    })
    .map_err(|failure| raised(py, failure))
}

#[pymodule]
#[pyo3(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // A panic becomes an error of its ceremony. The panic's own text could contain a secret.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(location) = panic.location() {
            eprintln!("mpc._native: panic at {location}");
        }
    }));
    let names = Protocol::ALL.map(Protocol::name);
    module.add("PROTOCOLS", PyTuple::new(module.py(), names)?)?;
    module.add("MAX_SIGNERS", MAX_SIGNERS)?;
    errors::add_to(module)?;
    module.add_class::<share::Share>()?;
    module.add_class::<dealings::Dealing>()?;
    module.add_class::<sessions::Messages>()?;
    module.add_class::<sessions::Session>()?;
    module.add_class::<sessions::Dkg>()?;
    module.add_class::<sessions::Signing>()?;
    module.add_class::<sessions::Refresh>()?;
    module.add_class::<sessions::Repair>()?;
    module.add_function(wrap_pyfunction!(dealings::deal, module)?)?;
    module.add_function(wrap_pyfunction!(dealings::dealt_constant, module)?)?;
    module.add_function(wrap_pyfunction!(dealings::dealt_share, module)?)?;
    module.add_function(wrap_pyfunction!(derive_public_key, module)?)
}
