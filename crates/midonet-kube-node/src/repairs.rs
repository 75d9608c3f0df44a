//! What was put right, counted by kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many repairs there were, by kind. Clones are handles on one count.
#[derive(Debug, Clone, Default)]
pub struct Repairs(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Repairs {
    /// One more.
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// Every kind that occurred, with its number.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
