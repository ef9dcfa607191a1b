//! The decoder of each message: it refuses bytes, or reads a value that has exactly these bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::ceremony::{CEREMONIES, SIZES, Sent, begun, run};
use super::check;
use super::damage::{Damage, damage};
use crate::errors::{Failure, Result};
use crate::messages::{HEADER, Payload, Received, encode};
use crate::protocol::{Ceremony, Protocol, Setting};
use crate::{dkls, frost};

/// Reads a message as its recipient does, and encodes the payload again.
pub struct Decoder {
    pub ceremony: Ceremony,
    pub exchange: u8,
    pub broadcast: bool,
    again: fn(&Setting, &Sent) -> Result<Vec<u8>>,
}

pub fn decoder<T: Payload>(ceremony: Ceremony, exchange: u8, broadcast: bool) -> Decoder {
    Decoder {
        ceremony,
        exchange,
        broadcast,
        again: again::<T>,
    }
}

fn again<T: Payload>(view: &Setting, sent: &Sent) -> Result<Vec<u8>> {
    let bytes = &sent.bytes[..];
    let both = if sent.recipient == 0 {
        (bytes, &[][..])
    } else {
        (&[][..], bytes)
    };
    let arrived = BTreeMap::from([(sent.sender, both)]);
    let received = Received::open(&arrived, view, sent.exchange)?;
    let values = if sent.recipient == 0 {
        received.broadcasts::<T>()?
    } else {
        received.privates::<T>()?
    };
    Ok(encode(&values[&sent.sender], T::LIMIT)?.to_vec())
}

/// Returns all messages of the ceremony, each with its decoder and the recipient's view of the
/// ceremony.
fn recorded(protocol: Protocol, ceremony: Ceremony) -> Vec<(Sent, Setting, Decoder)> {
    let mut messages = Vec::new();
    let ended = run(begun(protocol, ceremony), |sent| {
        messages.push(sent.clone())
    });
    assert!(ended.is_ok());
    messages
        .into_iter()
        .map(|sent| {
            let decoders = match protocol {
                Protocol::Dkls => dkls::decoders(),
                Protocol::Ed25519 => frost::decoders::<frost::Ed25519>(),
                Protocol::Taproot => frost::decoders::<frost::Taproot>(),
            };
            let decoder = decoders.into_iter().find(|decoder| {
                decoder.ceremony == ceremony
                    && decoder.exchange == sent.exchange
                    && decoder.broadcast == (sent.recipient == 0)
            });
            let view = view(protocol, ceremony, &sent);
            (sent, view, decoder.expect("each message has a decoder"))
        })
        .collect()
}

/// Returns the setting of the recipient, as if the sender were the only other participant.
fn view(protocol: Protocol, ceremony: Ceremony, sent: &Sent) -> Setting {
    let index = match sent.recipient {
        0 => sent.sender % 2 + 1,
        recipient => recipient,
    };
    Setting {
        protocol,
        ceremony,
        index,
        threshold: SIZES.0,
        signers: SIZES.1,
        participants: vec![index.min(sent.sender), index.max(sent.sender)],
        context: sent.bytes[6..HEADER].try_into().expect("32 bytes"),
    }
}

fn refuses_or_reads_exactly(
    (sent, view, decoder): (&Sent, &Setting, &Decoder),
    damage: &Damage,
) -> std::result::Result<(), TestCaseError> {
    let bytes = damage.of(&sent.bytes, HEADER);
    let damaged = Sent { bytes, ..*sent };
    match (decoder.again)(view, &damaged) {
        Ok(again) => {
            prop_assert_eq!(
                &again,
                &damaged.bytes[HEADER..],
                "another encoding was read"
            );
            prop_assert_eq!(&damaged.bytes[..HEADER], &sent.bytes[..HEADER]);
            prop_assert!(!damage.changes_length(), "another length was read");
        }
        Err(Failure::Abort { culprits, .. }) => prop_assert_eq!(culprits, vec![sent.sender]),
        Err(other) => prop_assert!(false, "not the sender's fault: {:?}", other),
    }
    Ok(())
}

fn hold(protocol: Protocol, ceremony: Ceremony, divisor: u32) {
    let recorded = recorded(protocol, ceremony);
    for (sent, view, decoder) in &recorded {
        assert_eq!(
            (decoder.again)(view, sent).as_deref(),
            Ok(&sent.bytes[HEADER..])
        );
    }
    let examples = (select((0..recorded.len()).collect::<Vec<_>>()), damage());
    check(divisor, examples, |(number, damage)| {
        let (sent, view, decoder) = &recorded[number];
        refuses_or_reads_exactly((sent, view, decoder), &damage)
    });
}

#[test]
fn a_dkls_message_is_refused_or_has_exactly_the_bytes_that_arrived() {
    for ceremony in CEREMONIES {
        // The largest message has 3,072 points, each of which takes a square root.
        hold(Protocol::Dkls, ceremony, 4);
    }
}

#[test]
fn a_frost_message_is_refused_or_has_exactly_the_bytes_that_arrived() {
    for ceremony in CEREMONIES {
        hold(Protocol::Ed25519, ceremony, 1);
        hold(Protocol::Taproot, ceremony, 1);
    }
}
