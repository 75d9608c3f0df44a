//! Trying the checks of a stage, many at a time, each until it comes true or has had enough time.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::check::{Check, fault};
use super::question::Outcome;
use super::session::Sessions;

/// So many checks are tried at a time.
const AT_ONCE: usize = 128;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(400);

/// What came of a check.
#[derive(Debug)]
pub(super) struct Tried<'a> {
    /// Which scenario it is of.
    pub(super) scenario: usize,
    pub(super) check: &'a Check,
    /// Of the last try.
    pub(super) outcomes: Vec<Outcome>,
    /// What is wrong; `None`: it came true.
    pub(super) fault: Option<String>,
    /// How long it took.
    pub(super) took: Duration,
}

/// Tries them all.
pub(super) async fn run<'a>(
    sessions: &Sessions,
    checks: Vec<(usize, &'a Check)>,
    patience: Duration,
) -> Vec<Tried<'a>> {
    let one = |(scenario, check)| async move {
        let (began, mut tries) = (Instant::now(), 0_u32);
        loop {
            let outcomes = sessions.ask(check).await;
            let fault = fault(&check.expect, &outcomes);
            tries = tries.saturating_add(1);
            if fault.is_none() || began.elapsed() + PAUSE > patience {
                let fault = fault.map(|fault| told(&fault, tries));
                return Tried { scenario, check, outcomes, fault, took: began.elapsed() };
            }
            sleep(PAUSE).await;
        }
    };
    // As they are listed, whatever is tried first.
    let tried = checks.into_iter().enumerate().map(|(index, check)| async move { (index, one(check).await) });
    let mut tried: Vec<_> = stream::iter(tried).buffer_unordered(AT_ONCE).collect().await;
    tried.sort_by_key(|(index, _)| *index);
    tried.into_iter().map(|(_, tried)| tried).collect()
}

fn told(fault: &str, tries: u32) -> String {
    if tries == 1 { fault.to_owned() } else { format!("{fault} ({tries} tries)") }
}
