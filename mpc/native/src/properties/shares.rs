//! Stored shares: refused, or read exactly.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::ceremony::{begun, run, shares};
use super::check;
use super::damage::{Damage, damage};
use crate::errors::Failure;
use crate::protocol::{Ceremony, Protocol};
use crate::session::Product;
use crate::share::{HEADER, Share};

type Checked = std::result::Result<(), TestCaseError>;

fn refuses_or_reads_exactly(bytes: &[u8]) -> std::result::Result<Option<Share>, TestCaseError> {
    match Share::from_bytes(bytes) {
        Ok(share) => {
            let again = share.to_bytes();
            let again = again.as_ref().map(|again| &again[..]);
            prop_assert!(again == Ok(bytes), "another encoding was read");
            Ok(Some(share))
        }
        Err(Failure::Misuse(_)) => Ok(None),
        Err(other) => Err(TestCaseError::fail(format!(
            "not a damaged share: {other:?}"
        ))),
    }
}

fn keeps_the_key(valid: &Share, damage: &Damage) -> Checked {
    let encoded = valid.to_bytes().expect("a share can be encoded");
    let Some(read) = refuses_or_reads_exactly(&damage.of(&encoded, HEADER))? else {
        return Ok(());
    };
    prop_assert!(!damage.changes_length(), "another length was read");
    let (before, after) = (valid.facts(), read.facts());
    prop_assert!(read.secret_share() == valid.secret_share());
    prop_assert_eq!(&after.public_key, &before.public_key);
    prop_assert_eq!(
        (after.index, after.threshold, after.signers),
        (before.index, before.threshold, before.signers)
    );
    Ok(())
}

fn repaired(protocol: Protocol) -> Share {
    let ended = run(begun(protocol, Ceremony::Repair), |_| ());
    let mut products = ended.unwrap_or_else(|failures| panic!("{failures:?}"));
    match products.remove(&3) {
        Some(Product::Share(share)) => *share,
        _ => panic!("a repair gives signer 3 its share"),
    }
}

#[test]
fn a_damaged_share_is_refused_or_keeps_its_key_and_has_exactly_the_stored_bytes() {
    for protocol in Protocol::ALL {
        let repaired = repaired(protocol);
        for valid in [&shares(protocol)[0], &repaired] {
            check(1, damage(), |damage| keeps_the_key(valid, &damage));
        }
    }
}

#[test]
fn bytes_that_are_not_a_share_are_refused() {
    let headers = (select(vec![0u8, 1, 2]), 0..5u8, 0..5u8, any::<[u8; 32]>());
    let examples = (headers, vec(any::<u8>(), 0..400));
    check(
        1,
        examples,
        |((version, protocol, flags, ceremony), own)| {
            let bytes = [&[version, protocol, flags], &ceremony[..], &own].concat();
            refuses_or_reads_exactly(&bytes).map(drop)
        },
    );
    check(1, vec(any::<u8>(), 0..80), |bytes| {
        refuses_or_reads_exactly(&bytes).map(drop)
    });
}
