//! Names that are in use: of namespaces, and of ports.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::hash::Counter;

/// Names, each with how often it is used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    known: HashMap<Arc<str>, (usize, usize)>,
    counter: Counter,
    changed: HashSet<Arc<str>>,
}

impl Names {
    /// Uses a name once more. Gives its number.
    pub(crate) fn learn(&mut self, name: &Arc<str>) -> usize {
        let Self { known, counter, changed } = self;
        let (number, uses) = known.entry(Arc::clone(name)).or_insert_with(|| {
            changed.insert(Arc::clone(name));
            (counter.next(), 0)
        });
        *uses += 1;
        *number
    }

    /// Uses a name once less.
    pub(crate) fn forget(&mut self, name: &Arc<str>) {
        let Some((_, uses)) = self.known.get_mut(name) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.known.remove(name);
            self.changed.insert(Arc::clone(name));
        }
    }

    /// The number of a name that is in use.
    pub(crate) fn get(&self, name: &str) -> Option<usize> {
        self.known.get(name).map(|(number, _)| *number)
    }

    /// Which names came into use or out of it since the last call.
    pub(crate) fn take_changed(&mut self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.changed)
    }
}
