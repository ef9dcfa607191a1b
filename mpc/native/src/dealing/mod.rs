//! Dealings: a secret value is split among signers who need not be those that hold it.
//!
//! A *dealer* chooses a polynomial whose value at 0 is its secret value, and commits to each
//! coefficient (Feldman, FOCS 1987; RFC 9591, appendix C.2). Signer j gets the *sub-share*, the
//! value at j, and checks it against the commitments. Two operations need this:
//!
//! - Import. The dealer is the application, and its secret value is the private key.
//! - Copy, a verifiable redistribution: protocol REDIST of Wong, Wang and Wing (SISW 2002), after
//!   Desmedt and Jajodia (ISSE-TR-97-01). A quorum of t old signers deals. The secret value of old
//!   signer i is `lambda_i * s_i`, its term of the interpolation at 0, so the terms add up to the
//!   private key. The commitment to it must be `lambda_i * Y_i`, with the verifying share `Y_i`.
//!
//! The new share is the sum of the sub-shares. It is hollow, as after a repair: only a refresh of
//! all new signers accepts it. See docs/adr/0036-import-and-copy-of-shares.md.
//!
//! Points are encoded as verifying shares are. Secret values and sub-shares are integers of 32
//! bytes, most significant byte first on all curves, as `Share::secret_share`.

mod give;
mod group;
mod take;
#[cfg(test)]
mod tests;

pub use give::{Dealing, deal};
pub use group::dealt_constant;
pub use take::{Combined, Received, Target, dealt_share};

/// The group of secp256k1 for DKLs23 as well: FROST's crate has the same curve.
type Secp256k1 = crate::frost::Taproot;
