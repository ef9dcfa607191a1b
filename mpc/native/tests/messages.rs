//! Size limits of sent and received messages.

use std::collections::BTreeMap;

use mpc_native::errors::Failure;
use mpc_native::messages::{Arrived, Outgoing, Payload, Received, decode, encode};
use mpc_native::protocol::{Ceremony, Protocol, Setting};
use serde::{Deserialize, Serialize};

/// A payload with a limit of its own. The limit does not change the payload's encoding.
#[derive(Serialize, Deserialize, Debug)]
struct UpTo<const LIMIT: usize>(Vec<u8>);

impl<const LIMIT: usize> Payload for UpTo<LIMIT> {
    const LIMIT: usize = LIMIT;

    fn check(&self, _: u8, _: u8) -> Result<(), &'static str> {
        Ok(())
    }
}

fn setting(index: u8) -> Setting {
    let kind = (Protocol::Dkls, Ceremony::Signing);
    Setting::new(kind, index, (2, 3), vec![1, 2], &[9; 32], &[]).unwrap()
}

/// Returns the result of participant 1 for a payload of 6 bytes from participant 2: 5 bytes after
/// their number.
fn received_with_limit<const LIMIT: usize>() -> Result<(), Failure> {
    let sent = Outgoing::default().broadcast(&UpTo::<6>(vec![1; 5]))?;
    let sent = sent.sealed(&setting(2), 1);
    let broadcast = sent.broadcast.unwrap();
    let arrived: Arrived<'_> = BTreeMap::from([(2, (&broadcast[..], &[][..]))]);
    let received = Received::open(&arrived, &setting(1), 1)?;
    received.broadcasts::<UpTo<LIMIT>>().map(|_| ())
}

#[test]
fn a_payload_over_its_limit_is_refused_though_it_could_be_decoded() {
    assert_eq!(received_with_limit::<6>(), Ok(()));
    let refused = Failure::by(2, "a message is over its size limit");
    assert_eq!(received_with_limit::<5>(), Err(refused));
}

#[test]
fn a_payload_over_its_limit_is_not_sent() {
    let sent = Outgoing::default().broadcast(&UpTo::<5>(vec![1; 5]));
    assert!(matches!(sent, Err(Failure::Misuse(reason)) if reason.contains("size limit")));
}

#[test]
fn a_value_has_one_encoding() {
    type Map = BTreeMap<u8, u32>;
    let map = Map::from([(4, 300), (5, 1)]);
    let bytes = [2, 4, 0xac, 0x02, 5, 1];
    assert_eq!(encode(&map, 10).unwrap()[..], bytes);
    assert_eq!(decode::<Map>(&bytes), Some(map));
    let others: [(&str, &[u8]); 5] = [
        ("entries in another order", &[2, 5, 1, 4, 0xac, 0x02]),
        ("an entry twice", &[3, 4, 1, 4, 0xac, 0x02, 5, 1]),
        ("a longer number", &[2, 4, 0xac, 0x82, 0x00, 5, 1]),
        ("a longer count", &[0x82, 0, 4, 0xac, 0x02, 5, 1]),
        ("a byte more", &[2, 4, 0xac, 0x02, 5, 1, 0]),
    ];
    for (what, bytes) in others {
        assert_eq!(decode::<Map>(bytes), None, "{what}");
    }
}
