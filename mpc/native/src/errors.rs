//! Why a ceremony ends early, as what its caller can do about it.

/// An ended ceremony. No reason ever holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The protocol failed; a fresh ceremony may succeed. `culprits` are the participants whose
    /// messages failed a check, empty where nobody can be named.
    Abort { culprits: Vec<u8>, reason: String },
    /// The counterparty may be extracting bits of the OT correlation: never again with it.
    Ban { culprit: u8, reason: String },
    /// Our own mistake: wrong arguments, wrong process, a spent session, a damaged share, a panic.
    Misuse(String),
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn by(culprit: u8, reason: impl Into<String>) -> Self {
        Self::Abort {
            culprits: vec![culprit],
            reason: reason.into(),
        }
    }

    pub fn by_nobody(reason: impl Into<String>) -> Self {
        Self::Abort {
            culprits: Vec::new(),
            reason: reason.into(),
        }
    }

    pub fn misuse(reason: impl Into<String>) -> Self {
        Self::Misuse(reason.into())
    }
}
