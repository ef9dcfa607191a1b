//! One participant's part in one ceremony: the order of the calls, and the guards of each call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dkls23_core::utilities::rng::get_rng;

use crate::errors::{Failure, Result};
use crate::messages::{Arrived, Outgoing, Received};
use crate::protocol::Setting;
use crate::share::Share;
use crate::verified::Verified;

/// The state between two exchanges. `advance` consumes the state, so no code can use it twice.
pub trait Phase: Send {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step>;
}

pub enum Step {
    Send(Outgoing, Box<dyn Phase>),
    Done(Product),
}

/// The result of a ceremony.
pub enum Product {
    Share(Box<Share>),
    Signature(Verified),
    Nothing,
}

enum State {
    /// The next phase, and the number of exchanges before it.
    Waiting(Box<dyn Phase>, u8),
    Done(Product),
    Spent,
}

pub struct Session {
    setting: Setting,
    pub exchanges: u8,
    /// The numbers of the `advance` calls (the first is 1) that must run under the ban locks.
    pub guarded: &'static [u8],
    process: u32,
    state: State,
}

impl Session {
    pub fn new(
        setting: Setting,
        exchanges: u8,
        guarded: &'static [u8],
        first: Box<dyn Phase>,
    ) -> Self {
        Self {
            setting,
            exchanges,
            guarded,
            process: std::process::id(),
            state: State::Waiting(first, 0),
        }
    }

    pub fn start(&mut self) -> Result<Outgoing> {
        match self.take()? {
            State::Waiting(phase, 0) => match self.run(phase, 0, Received::nothing())? {
                Some(outgoing) => Ok(outgoing),
                None => Err(Failure::misuse("a ceremony without an exchange")),
            },
            _ => Err(Failure::misuse("the session was started before")),
        }
    }

    /// Takes the messages of the next exchange. Returns None after the last exchange.
    ///
    /// # Errors
    /// Any failure. The session is then spent, and its secrets are wiped.
    pub fn advance(&mut self, arrived: &Arrived<'_>) -> Result<Option<Outgoing>> {
        match self.take()? {
            State::Waiting(phase, exchange) if exchange > 0 => {
                let received = Received::open(arrived, &self.setting, exchange)?;
                self.run(phase, exchange, received)
            }
            _ => Err(Failure::misuse("the session expects no messages")),
        }
    }

    pub fn result(&mut self) -> Result<Product> {
        match self.take()? {
            State::Done(product) => Ok(product),
            _ => Err(Failure::misuse("the session has no result")),
        }
    }

    fn take(&mut self) -> Result<State> {
        // A forked copy of this session would repeat its nonces and choices.
        if std::process::id() != self.process {
            return Err(Failure::misuse("the session belongs to another process"));
        }
        match std::mem::replace(&mut self.state, State::Spent) {
            State::Spent => Err(Failure::misuse("the session is spent")),
            state => Ok(state),
        }
    }

    fn run(
        &mut self,
        phase: Box<dyn Phase>,
        exchange: u8,
        received: Received<'_>,
    ) -> Result<Option<Outgoing>> {
        match guarded(|| phase.advance(received))? {
            Step::Send(outgoing, next) => {
                self.state = State::Waiting(next, exchange + 1);
                Ok(Some(outgoing.sealed(&self.setting, exchange + 1)))
            }
            Step::Done(product) => {
                self.state = State::Done(product);
                Ok(None)
            }
        }
    }
}

/// Runs a call into the protocol libraries, and turns a panic into an error.
///
/// First it seeds this thread's random generator again: a fork copies the generator unchanged.
pub fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    get_rng()
        .reseed()
        .map_err(|_| Failure::misuse("the system has no randomness"))?;
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Failure::misuse("a protocol library panicked")))
}
