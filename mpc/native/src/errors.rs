//! The failures that end a ceremony early, in groups by what the caller can do about them.

/// The failure of a ceremony. A reason never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The protocol failed; a new ceremony may succeed. `culprits` are the participants whose
    /// messages failed a check. They are empty if no participant is known to be at fault.
    Abort { culprits: Vec<u8>, reason: String },
    /// The counterparty may extract bits of the OT correlation: never sign with it again.
    Ban { culprit: u8, reason: String },
    /// A fault on this side: wrong arguments, wrong process, a spent session, a damaged share, a
    /// panic.
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

    /// Returns the failure of a check of values that other participants sent: it is not a fault on
    /// this side.
    pub fn of_others(self) -> Self {
        match self {
            Self::Misuse(reason) => Self::by_nobody(reason),
            other => other,
        }
    }
}
