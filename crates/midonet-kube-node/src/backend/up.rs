//! Which interfaces of Pods are up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plumbing::Link;

/// How long the last step of an ADD may be under way.
const LAST_STEP: Duration = Duration::from_millis(700);

/// Which Pods' interfaces were seen up, and since when the others are seen down: those may be in the middle of
/// their ADD, whose last step sets them up.
#[derive(Debug, Default)]
pub(super) struct Up(BTreeMap<u32, Option<Instant>>);

impl Up {
    /// Whether no interface is down that may only be on its way up.
    pub(super) fn is_all(&self) -> bool {
        self.0.values().all(Option::is_none)
    }

    /// Forgets those that are gone.
    pub(super) fn retain<T>(&mut self, there: &BTreeMap<u32, T>) {
        self.0.retain(|ifindex, _| there.contains_key(ifindex));
    }

    /// Notes whether an interface is up now; whether somebody else set it down.
    pub(super) fn is_broken(&mut self, link: &Link) -> bool {
        if link.up {
            self.0.insert(link.ifindex, None);
            return false;
        }
        let down = self.0.entry(link.ifindex).or_insert_with(|| Some(Instant::now()));
        down.is_none_or(|since| since.elapsed() >= LAST_STEP)
    }
}
