//! What of an object is left out, the rest of it being used.

use std::fmt;

use crate::kind::Invalid;

/// So many are told of one object.
const MOST: usize = 4;

/// The parts of an object that cannot be used.
#[derive(Debug, Default)]
pub(super) struct Defects {
    told: Vec<Invalid>,
    more: usize,
}

impl Defects {
    /// One more; `problem` says what the field has and what becomes of it.
    pub(super) fn add(&mut self, field: &str, problem: impl fmt::Display) {
        if self.told.len() < MOST {
            self.told.push(Invalid::field(field, problem));
        } else {
            self.more += 1;
        }
    }

    /// All of them; of more than a few, how many more there are.
    pub(super) fn into_boxed(mut self) -> Box<[Invalid]> {
        if self.more > 0
            && let Some(last) = self.told.last_mut()
        {
            last.problem += &format!("; {} more parts are left out", self.more);
        }
        self.told.into()
    }
}
