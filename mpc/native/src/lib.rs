//! The threshold protocols of the MPC mode behind one interface: DKG, signing, refresh and repair
//! as sessions of rounds, bytes in and bytes out. No threads, no I/O, no policy.
//!
//! Callers begin in `ceremonies`, and in `dealing` for the import and the copy of a key. The crate in `python/` binds it as `mpc._native`.

pub mod ceremonies;
mod confirmation;
pub mod dealing;
mod dkls;
pub mod errors;
mod frost;
pub mod messages;
#[cfg(test)]
mod properties;
pub mod protocol;
pub mod session;
pub mod share;
pub mod verified;
mod wiped;

pub use dkls::derive_public_key;
