//! One damaged message in a ceremony: the ceremony has the right product, or it fails, and no
//! participant blames itself.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::ceremony::{CEREMONIES, begun, run, shares};
use super::check;
use super::damage::{Damage, damage};
use crate::errors::Failure;
use crate::messages::HEADER;
use crate::protocol::{Ceremony, Protocol};
use crate::session::Product;
use crate::share::Share;

type Checked = std::result::Result<(), TestCaseError>;

fn made(products: &BTreeMap<u8, Product>) -> Vec<&Share> {
    let shares = products.values().filter_map(|product| match product {
        Product::Share(share) => Some(&**share),
        _ => None,
    });
    shares.collect()
}

fn is_right(protocol: Protocol, ceremony: Ceremony, products: &BTreeMap<u8, Product>) -> Checked {
    let (made, before) = (made(products), shares(protocol));
    let expected = match ceremony {
        Ceremony::Dkg | Ceremony::Refresh => 3,
        Ceremony::Repair => 1,
        // A session gives out only a verified signature.
        Ceremony::Signing => 0,
    };
    prop_assert_eq!(made.len(), expected);
    for share in &made {
        prop_assert_eq!(share.facts().transcript(), made[0].facts().transcript());
        if ceremony != Ceremony::Dkg {
            prop_assert_eq!(&share.facts().public_key, &before[0].facts().public_key);
        }
        if ceremony == Ceremony::Repair {
            prop_assert!(share.secret_share() == before[2].secret_share());
        }
    }
    Ok(())
}

fn is_fair(us: u8, failure: &Failure) -> Checked {
    let culprits = match failure {
        Failure::Abort { culprits, .. } => culprits.clone(),
        Failure::Ban { culprit, .. } => vec![*culprit],
        Failure::Misuse(_) => return Err(TestCaseError::fail(format!("{us}: {failure:?}"))),
    };
    prop_assert!(
        !culprits.contains(&us),
        "{} blames itself: {:?}",
        us,
        failure
    );
    Ok(())
}

fn fails_or_is_right(
    (protocol, ceremony): (Protocol, Ceremony),
    messages: usize,
    (place, damage): (Index, Damage),
) -> Checked {
    let (chosen, mut number) = (place.index(messages), 0);
    let ended = run(begun(protocol, ceremony), |sent| {
        if number == chosen {
            sent.bytes = damage.of(&sent.bytes, HEADER);
        }
        number += 1;
    });
    match ended {
        Ok(products) => is_right(protocol, ceremony, &products),
        Err(failures) => failures
            .iter()
            .try_for_each(|(us, failure)| is_fair(*us, failure)),
    }
}

fn hold(protocol: Protocol, ceremony: Ceremony, divisor: u32) {
    let mut messages = 0;
    let ended = run(begun(protocol, ceremony), |_| messages += 1);
    let products = ended.unwrap_or_else(|failures| panic!("{failures:?}"));
    is_right(protocol, ceremony, &products).unwrap();
    check(divisor, (any::<Index>(), damage()), |example| {
        fails_or_is_right((protocol, ceremony), messages, example)
    });
}

#[test]
fn a_damaged_message_gives_no_wrong_product_of_a_frost_ceremony() {
    for ceremony in CEREMONIES {
        hold(Protocol::Ed25519, ceremony, 2);
        hold(Protocol::Taproot, ceremony, 2);
    }
}

#[test]
fn a_damaged_message_gives_no_wrong_product_of_a_dkls_ceremony() {
    hold(Protocol::Dkls, Ceremony::Signing, 8);
    hold(Protocol::Dkls, Ceremony::Repair, 4);
    // Each example of these two takes almost a second.
    hold(Protocol::Dkls, Ceremony::Dkg, 128);
    hold(Protocol::Dkls, Ceremony::Refresh, 128);
}

fn ended_with(protocol: Protocol, lie: fn(&mut Vec<u8>)) -> Option<Failure> {
    let ended = run(begun(protocol, Ceremony::Repair), |sent| {
        if sent.recipient == 3 {
            lie(&mut sent.bytes);
        }
    });
    ended.err().and_then(|mut failures| failures.remove(&3))
}

#[test]
fn a_lie_of_all_helpers_is_not_the_fault_of_the_repaired_signer() {
    let tweaked = ended_with(Protocol::Ed25519, |bytes| {
        *bytes.last_mut().unwrap() = 1;
    });
    let reason = "a share of this protocol is never taproot-tweaked";
    assert_eq!(tweaked, Some(Failure::by_nobody(reason)));
    let short_session_id = ended_with(Protocol::Dkls, |bytes| {
        assert_eq!(bytes[73], 32);
        bytes[73] = 31;
        bytes.remove(74);
    });
    let reason = "a share whose session id has not 32 bytes";
    assert_eq!(short_session_id, Some(Failure::by_nobody(reason)));
}
