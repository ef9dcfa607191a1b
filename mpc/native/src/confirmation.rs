//! The last exchange of a DKG or refresh: all parties compare their results.

use serde::{Deserialize, Serialize};

use crate::errors::{Failure, Result};
use crate::messages::{Outgoing, Payload, Received};
use crate::session::{Phase, Product, Step};
use crate::share::Share;

/// Broadcast: the transcript of the new share. See `Facts::transcript`.
#[derive(Serialize, Deserialize)]
pub struct Transcript([u8; 32]);

impl Payload for Transcript {
    const LIMIT: usize = 32;

    fn check(&self, _: u8, _: u8) -> std::result::Result<(), &'static str> {
        Ok(())
    }
}

struct Comparison {
    share: Box<Share>,
}

/// Sends our transcript. The session gives out `share` once all others have sent the same one.
pub fn confirm(share: Share) -> Result<Step> {
    let outgoing = Outgoing::default().broadcast(&Transcript(share.facts().transcript()))?;
    let share = Box::new(share);
    Ok(Step::Send(outgoing, Box::new(Comparison { share })))
}

impl Phase for Comparison {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_privates()?;
        let transcripts = received.broadcasts::<Transcript>()?;
        let ours = self.share.facts().transcript();
        let differing: Vec<u8> = transcripts
            .iter()
            .filter(|(_, transcript)| transcript.0 != ours)
            .map(|(&sender, _)| sender)
            .collect();
        if differing.is_empty() {
            return Ok(Step::Done(Product::Share(self.share)));
        }
        let reason = format!("participants {differing:?} arrived at another key or other shares");
        // If most transcripts equal ours, the others are to blame. Otherwise we may be wrong.
        if differing.len() * 2 <= transcripts.len() {
            return Err(Failure::Abort {
                culprits: differing,
                reason,
            });
        }
        Err(Failure::by_nobody(reason))
    }
}
