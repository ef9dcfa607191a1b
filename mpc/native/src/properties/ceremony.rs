//! Whole ceremonies in one process, whose messages a test can read and damage.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::ceremonies;
use crate::errors::{Failure, Result};
use crate::messages::{Arrived, Outgoing};
use crate::protocol::{Ceremony, Protocol};
use crate::session::{Product, Session};
use crate::share::Share;

const SESSION: [u8; 32] = [9; 32];
pub const DIGEST: [u8; 32] = [5; 32];
/// The threshold and the number of signers.
pub const SIZES: (u8, u8) = (2, 3);

pub const CEREMONIES: [Ceremony; 4] = [
    Ceremony::Dkg,
    Ceremony::Signing,
    Ceremony::Refresh,
    Ceremony::Repair,
];

/// A sealed message. The recipient of a broadcast is 0.
#[derive(Clone, Debug)]
pub struct Sent {
    pub exchange: u8,
    pub sender: u8,
    pub recipient: u8,
    pub bytes: Vec<u8>,
}

/// The products of all participants, or the failures of those that failed first.
pub type Ended = std::result::Result<BTreeMap<u8, Product>, BTreeMap<u8, Failure>>;

/// Returns the shares of signers 1 to 3, which a DKG made once in this process.
pub fn shares(protocol: Protocol) -> &'static [Share] {
    static MADE: [OnceLock<Vec<Share>>; 3] = [const { OnceLock::new() }; 3];
    MADE[protocol as usize - 1].get_or_init(|| {
        let ended = run(begun(protocol, Ceremony::Dkg), |_| ());
        let products = ended.unwrap_or_else(|failures| panic!("the DKG failed: {failures:?}"));
        let shares = products.into_values().map(|product| match product {
            Product::Share(share) => *share,
            _ => panic!("a DKG makes shares"),
        });
        shares.collect()
    })
}

/// Begins a ceremony: signer 1 and 2 sign, or repair the share of signer 3.
pub fn begun(protocol: Protocol, ceremony: Ceremony) -> BTreeMap<u8, Session> {
    let begin = |index: u8| -> Result<Session> {
        let share = || &shares(protocol)[usize::from(index) - 1];
        match ceremony {
            Ceremony::Dkg => ceremonies::dkg(protocol, index, SIZES, &SESSION),
            Ceremony::Signing => ceremonies::signing(share(), vec![1, 2], &DIGEST, &SESSION, &[]),
            Ceremony::Refresh => ceremonies::refresh(share(), &SESSION),
            Ceremony::Repair => {
                let own = (index != 3).then(share);
                ceremonies::repair(protocol, index, 3, &[1, 2], own, &SESSION)
            }
        }
    };
    let last = if ceremony == Ceremony::Signing { 2 } else { 3 };
    (1..=last)
        .map(|index| match begin(index) {
            Ok(session) => (index, session),
            Err(failure) => panic!("signer {index} cannot begin: {failure:?}"),
        })
        .collect()
}

/// Runs a ceremony. `tamper` sees each message before it arrives.
pub fn run(mut sessions: BTreeMap<u8, Session>, mut tamper: impl FnMut(&mut Sent)) -> Ended {
    let participants: Vec<u8> = sessions.keys().copied().collect();
    let mut outgoing = all(sessions.iter_mut().map(|(&us, one)| (us, one.start())))?;
    for exchange in 1.. {
        let mut messages: Vec<Sent> = outgoing
            .iter()
            .flat_map(|(&sender, sent)| messages_of(exchange, sender, sent))
            .collect();
        messages.iter_mut().for_each(&mut tamper);
        let advanced = all(sessions
            .iter_mut()
            .map(|(&us, session)| (us, session.advance(&arrived(us, &participants, &messages)))))?;
        if advanced.values().all(Option::is_none) {
            break;
        }
        outgoing = advanced
            .into_iter()
            .map(|(us, sent)| (us, sent.expect("all participants send equally often")))
            .collect();
    }
    all(sessions.iter_mut().map(|(&us, one)| (us, one.result())))
}

fn messages_of(exchange: u8, sender: u8, sent: &Outgoing) -> Vec<Sent> {
    let broadcast = sent.broadcast.iter().map(|bytes| (0, bytes));
    let private = sent.private.iter().map(|(to, bytes)| (*to, bytes));
    broadcast
        .chain(private)
        .map(|(recipient, bytes)| Sent {
            exchange,
            sender,
            recipient,
            bytes: bytes.to_vec(),
        })
        .collect()
}

fn arrived<'a>(us: u8, participants: &[u8], messages: &'a [Sent]) -> Arrived<'a> {
    let find = |sender: u8, recipient: u8| -> &'a [u8] {
        messages
            .iter()
            .find(|sent| sent.sender == sender && sent.recipient == recipient)
            .map_or(&[], |sent| &sent.bytes)
    };
    participants
        .iter()
        .filter(|other| **other != us)
        .map(|&sender| (sender, (find(sender, 0), find(sender, us))))
        .collect()
}

fn all<T>(
    results: impl Iterator<Item = (u8, Result<T>)>,
) -> std::result::Result<BTreeMap<u8, T>, BTreeMap<u8, Failure>> {
    let (mut values, mut failures) = (BTreeMap::new(), BTreeMap::new());
    for (us, result) in results {
        match result {
            Ok(value) => drop(values.insert(us, value)),
            Err(failure) => drop(failures.insert(us, failure)),
        }
    }
    if failures.is_empty() {
        Ok(values)
    } else {
        Err(failures)
    }
}
