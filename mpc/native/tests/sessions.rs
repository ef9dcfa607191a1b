//! The rules that sessions of every protocol keep.

use mpc_native::ceremonies;
use mpc_native::errors::Failure;
use mpc_native::protocol::{Ceremony, MAX_SIGNERS, Protocol, Setting};
use mpc_native::session::guarded;

fn setting(ceremony: Ceremony, session_id: &[u8], about: &[&[u8]]) -> Result<Setting, Failure> {
    let kind = (Protocol::Dkls, ceremony);
    Setting::new(kind, 1, (2, 3), vec![1, 2], session_id, about)
}

#[test]
fn a_panic_is_an_error_of_its_ceremony() {
    let ended = guarded::<()>(|| panic!("as a library may"));
    assert!(matches!(ended, Err(Failure::Misuse(reason)) if reason.contains("panicked")));
}

#[test]
fn no_two_kinds_of_ceremony_have_a_session_in_common() {
    let kinds = [
        Ceremony::Dkg,
        Ceremony::Signing,
        Ceremony::Refresh,
        Ceremony::Repair,
    ];
    let contexts: std::collections::BTreeSet<_> = kinds
        .iter()
        .map(|kind| setting(*kind, &[9; 32], &[]).unwrap().context)
        .collect();
    assert_eq!(contexts.len(), kinds.len());
}

#[test]
fn the_context_binds_where_one_part_ends_and_the_next_begins() {
    let context = |about: &[&[u8]]| {
        let made = setting(Ceremony::Signing, &[9; 32], about);
        made.unwrap().context
    };
    assert_ne!(context(&[b"ab", b"c"]), context(&[b"a", b"bc"]));
    assert_ne!(context(&[b"ab", b""]), context(&[b"ab"]));
}

#[test]
fn a_session_id_has_32_bytes() {
    assert!(setting(Ceremony::Dkg, &[9; 32], &[]).is_ok());
    assert!(setting(Ceremony::Dkg, &[9; 31], &[]).is_err());
    assert!(setting(Ceremony::Dkg, &[], &[]).is_err());
}

#[test]
fn sizes_that_the_libraries_would_panic_at_are_refused() {
    for (index, threshold, signers) in [
        (1, 1, 3),
        (1, 4, 3),
        (1, 0, 3),
        (0, 2, 3),
        (4, 2, 3),
        (1, 2, MAX_SIGNERS + 1),
    ] {
        for protocol in Protocol::ALL {
            let made = ceremonies::dkg(protocol, index, (threshold, signers), &[9; 32]);
            assert!(matches!(made, Err(Failure::Misuse(_))));
        }
    }
}
