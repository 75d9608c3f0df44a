//! Tables with two columns: what is in force, and how it changes.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::layout::policy::Class;
use crate::sys::RawMap;

/// A key that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<K> {
    pub(super) key: K,
    /// The class in force; `None`: there is none.
    pub(super) before: Option<u32>,
    /// The class that will be.
    pub(super) after: Option<u32>,
}

/// The classes of addresses, or of blocks.
#[derive(Debug)]
pub(super) struct Columns<K> {
    pub(super) map: RawMap,
    pub(super) name: &'static str,
    /// What is in force, in both columns.
    pub(super) in_force: HashMap<K, u32>,
    /// Keys where the kernel may have something else in the other column, or anything where nothing is in force.
    pub(super) unsettled: HashSet<K>,
}

impl<K: Pod + Eq + Hash> Columns<K> {
    /// What has to change so that the other column has what is wanted, and all else as it is. `replace`: all else goes.
    pub(super) fn plan(&self, wanted: &HashMap<K, Option<u32>>, replace: bool) -> Vec<Step<K>> {
        let before = |key: &K| self.in_force.get(key).copied();
        let changed = |key: &K, after| self.unsettled.contains(key) || before(key) != after;
        let named = wanted.iter().filter(|(key, after)| changed(key, **after));
        let mut steps: Vec<_> =
            named.map(|(key, after)| Step { key: *key, before: before(key), after: *after }).collect();
        let unnamed = |key: &&K| !wanted.contains_key(key);
        if replace {
            let rest = self.in_force.iter().filter(|(key, _)| unnamed(key));
            steps.extend(rest.map(|(key, class)| Step { key: *key, before: Some(*class), after: None }));
        }
        let rest = self.unsettled.iter().filter(unnamed).filter(|key| !replace || before(key).is_none());
        steps.extend(rest.map(|key| Step { key: *key, before: before(key), after: before(key) }));
        steps
    }

    /// Writes what will be in force into the column that is not. `absent` says what stands where there is no class, in the
    /// present and in the future.
    pub(super) fn write(
        &mut self,
        steps: &[Step<K>],
        column: usize,
        absent: impl Fn(&K) -> [u32; 2],
    ) -> Result<()> {
        self.unsettled.extend(steps.iter().map(|step| step.key));
        let classes = steps.iter().map(|Step { key, before, after }| {
            let [now, then] = match (*before, *after) {
                (Some(before), Some(after)) => [before, after],
                (before, after) => {
                    let [now, then] = absent(key);
                    [before.unwrap_or(now), after.unwrap_or(then)]
                }
            };
            (*key, Class { column: if column == 0 { [then, now] } else { [now, then] } })
        });
        self.set(classes)
    }

    /// Makes both columns the same, and removes keys without a class. What the kernel refuses stays unsettled.
    pub(super) fn settle(
        &mut self,
        steps: &[Step<K>],
        after: impl Fn(&Step<K>) -> Option<u32>,
    ) -> Result<()> {
        let kept = steps.iter().filter_map(|step| Some((step.key, Class { column: [after(step)?; 2] })));
        let kept = self.set(kept);
        let gone: Vec<K> = steps.iter().filter(|step| after(step).is_none()).map(|step| step.key).collect();
        let gone = self.map.remove_all(bytemuck::cast_slice(&gone));
        for step in steps {
            match after(step) {
                Some(class) => self.in_force.insert(step.key, class),
                None => self.in_force.remove(&step.key),
            };
        }
        kept.and(gone.map_err(|error| self.failed(&error)))?;
        for step in steps {
            self.unsettled.remove(&step.key);
        }
        Ok(())
    }

    fn set(&self, entries: impl Iterator<Item = (K, Class)>) -> Result<()> {
        let (keys, values): (Vec<K>, Vec<Class>) = entries.unzip();
        let written = self.map.set_all(bytemuck::cast_slice(&keys), bytemuck::cast_slice(&values));
        written.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::map("write", self.name, error)
    }
}
