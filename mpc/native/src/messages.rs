//! The form of every message, and the messages that one exchange sends and receives.
//!
//! A message is a header of 38 bytes and a payload in postcard encoding:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | protocol: 1 dkls23, 2 frost-ed25519, 3 frost-secp256k1-tr |
//! | 2 | 1 | ceremony: 1 DKG, 2 signing, 3 refresh, 4 repair |
//! | 3 | 1 | exchange, from 1 |
//! | 4 | 1 | sender's index |
//! | 5 | 1 | recipient's index; 0: a broadcast |
//! | 6 | 32 | context: hash of the session id, the participants and the ceremony's own values |
//! | 38 | | payload, the types of each protocol's files |

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::errors::{Failure, Result};
use crate::protocol::Setting;

const VERSION: u8 = 1;
pub const HEADER: usize = 38;

/// A payload. After decoding, `check` runs before any code uses a secret.
pub trait Payload: Serialize + DeserializeOwned {
    /// The largest size in bytes.
    const LIMIT: usize;

    /// Checks the payload. Fields that repeat the sender or recipient must equal `sender` (the
    /// authenticated sender) and `us`.
    fn check(&self, sender: u8, us: u8) -> std::result::Result<(), &'static str>;
}

/// The payloads that one participant sends at one exchange.
#[derive(Default)]
pub struct Outgoing {
    pub broadcast: Option<Zeroizing<Vec<u8>>>,
    pub private: BTreeMap<u8, Zeroizing<Vec<u8>>>,
}

impl Outgoing {
    pub fn broadcast<T: Payload>(mut self, payload: &T) -> Result<Self> {
        self.broadcast = Some(encode(payload, T::LIMIT)?);
        Ok(self)
    }

    pub fn private<T: Payload>(mut self, recipient: u8, payload: &T) -> Result<Self> {
        let bytes = encode(payload, T::LIMIT)?;
        self.private.insert(recipient, bytes);
        Ok(self)
    }

    /// Puts the headers before the payloads.
    pub fn sealed(self, setting: &Setting, exchange: u8) -> Self {
        let seal = |recipient: u8, payload: Zeroizing<Vec<u8>>| {
            let mut message = Zeroizing::new(Vec::with_capacity(HEADER + payload.len()));
            message.extend_from_slice(&header(setting, exchange, setting.index, recipient));
            message.extend_from_slice(&payload);
            message
        };
        Self {
            broadcast: self.broadcast.map(|payload| seal(0, payload)),
            private: self
                .private
                .into_iter()
                .map(|(recipient, payload)| (recipient, seal(recipient, payload)))
                .collect(),
        }
    }
}

fn header(setting: &Setting, exchange: u8, sender: u8, recipient: u8) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..6].copy_from_slice(&[
        VERSION,
        setting.protocol as u8,
        setting.ceremony as u8,
        exchange,
        sender,
        recipient,
    ]);
    bytes[6..].copy_from_slice(&setting.context);
    bytes
}

/// The received messages of an exchange: sender -> its broadcast and its private message to us.
pub type Arrived<'a> = BTreeMap<u8, (&'a [u8], &'a [u8])>;

/// The received payloads of one exchange, with one entry for each other participant.
pub struct Received<'a> {
    us: u8,
    payloads: BTreeMap<u8, [Option<&'a [u8]>; 2]>,
}

impl<'a> Received<'a> {
    pub fn nothing() -> Self {
        Self {
            us: 0,
            payloads: BTreeMap::new(),
        }
    }

    /// Checks senders and headers.
    ///
    /// # Errors
    /// `Misuse` if the senders are not exactly the other participants: the caller sorts messages
    /// by authenticated sender. `Abort` with the sender of a message that has a wrong header.
    pub fn open(arrived: &Arrived<'a>, setting: &Setting, exchange: u8) -> Result<Self> {
        if !setting.others().eq(arrived.keys().copied()) {
            return Err(Failure::misuse(
                "the senders are not exactly the other participants",
            ));
        }
        let mut payloads = BTreeMap::new();
        for (&sender, &(broadcast, private)) in arrived {
            let open = |message, recipient| open(message, setting, exchange, sender, recipient);
            payloads.insert(sender, [open(broadcast, 0)?, open(private, setting.index)?]);
        }
        Ok(Self {
            us: setting.index,
            payloads,
        })
    }

    pub fn broadcasts<T: Payload>(&self) -> Result<BTreeMap<u8, T>> {
        self.decode(0)
    }

    pub fn privates<T: Payload>(&self) -> Result<BTreeMap<u8, T>> {
        self.decode(1)
    }

    /// Returns the private messages of `senders`. All other participants must have sent none.
    pub fn privates_of<T: Payload>(&self, senders: &[u8]) -> Result<BTreeMap<u8, T>> {
        for (&sender, payloads) in &self.payloads {
            if !senders.contains(&sender) && payloads[1].is_some() {
                return Err(Failure::by(sender, "sent a message that is not due"));
            }
        }
        senders
            .iter()
            .map(|&sender| {
                let payload = self.payloads.get(&sender).and_then(|both| both[1]);
                decode_from(sender, self.us, payload).map(|value| (sender, value))
            })
            .collect()
    }

    pub fn no_broadcasts(&self) -> Result<()> {
        self.none(0)
    }

    pub fn no_privates(&self) -> Result<()> {
        self.none(1)
    }

    fn decode<T: Payload>(&self, which: usize) -> Result<BTreeMap<u8, T>> {
        self.payloads
            .iter()
            .map(|(&sender, both)| {
                decode_from(sender, self.us, both[which]).map(|value| (sender, value))
            })
            .collect()
    }

    fn none(&self, which: usize) -> Result<()> {
        match self.payloads.iter().find(|(_, both)| both[which].is_some()) {
            Some((&sender, _)) => Err(Failure::by(sender, "sent a message that is not due")),
            None => Ok(()),
        }
    }
}

fn open<'a>(
    message: &'a [u8],
    setting: &Setting,
    exchange: u8,
    sender: u8,
    recipient: u8,
) -> Result<Option<&'a [u8]>> {
    if message.is_empty() {
        return Ok(None);
    }
    let expected = header(setting, exchange, sender, recipient);
    if message.len() < HEADER || message[..6] != expected[..6] {
        return Err(Failure::by(
            sender,
            "a message of another version, protocol, exchange, sender or recipient",
        ));
    }
    if message[6..HEADER] != expected[6..] {
        return Err(Failure::by(
            sender,
            "a message of another ceremony: its session, participants, shares or digest differ",
        ));
    }
    Ok(Some(&message[HEADER..]))
}

fn decode_from<T: Payload>(sender: u8, us: u8, payload: Option<&[u8]>) -> Result<T> {
    let payload = payload.ok_or_else(|| Failure::by(sender, "a message is missing"))?;
    if payload.len() > T::LIMIT {
        return Err(Failure::by(sender, "a message is over its size limit"));
    }
    let value: T =
        decode(payload).ok_or_else(|| Failure::by(sender, "a message cannot be decoded"))?;
    value
        .check(sender, us)
        .map_err(|reason| Failure::by(sender, reason))?;
    Ok(value)
}

/// Decodes a value. Returns None unless `encode` would give exactly these bytes.
///
/// Postcard also accepts longer forms of a number, and map entries in any order or twice. So one
/// value would have several encodings, and two readers could see different values.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    let expected = Expected {
        rest: bytes.iter(),
        same: true,
    };
    let mut compared = postcard::to_extend(&value, expected).ok()?;
    (rest.is_empty() && compared.same && compared.rest.next().is_none()).then_some(value)
}

/// Compares what is written to it with the expected bytes, and makes no copy of secrets.
struct Expected<'a> {
    rest: std::slice::Iter<'a, u8>,
    same: bool,
}

impl Extend<u8> for Expected<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, written: I) {
        for byte in written {
            self.same &= self.rest.next() == Some(&byte);
        }
    }
}

/// Encodes a value. The vector has its full size from the start: a growing vector would leave
/// copies of secrets in memory.
pub fn encode<T: Serialize>(value: &T, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = postcard::to_extend(value, Vec::with_capacity(limit))
        .map(Zeroizing::new)
        .map_err(|_| Failure::misuse("a value cannot be encoded"))?;
    if bytes.len() > limit {
        return Err(Failure::misuse("a value is over its size limit"));
    }
    Ok(bytes)
}
