//! How Translations that are wanted differ from those that there are, in words. Pure.

use std::collections::{BTreeMap, BTreeSet};

use midonet::Entry;
use objects::Key;
use translation::{Change, CustomResource, Owner, Wanted};

use crate::inventory::Inventory;
use crate::owner::Whose;
use crate::plan::{self, Step};

/// Collects differences.
#[derive(Debug, Default)]
pub struct Difference {
    /// What is to be done with each Translation, in lines.
    lines: BTreeMap<Key, Vec<String>>,
    /// Those that stay: wanted ones, and those of owners of which it is not known.
    stay: BTreeSet<Key>,
    same: usize,
}

impl Difference {
    /// Takes in what is wanted of an owner.
    pub fn add(&mut self, change: &Change, inventory: &Inventory) {
        match &change.wanted {
            Wanted::Keep => {
                let owner = plan::owned_by(&change.owner);
                let kept = inventory.of(&owner);
                self.stay.extend(kept.map(|stored| stored.key.clone()));
            }
            Wanted::Set(wanted) => {
                for translation in wanted {
                    let key = plan::key(translation);
                    let known = inventory.get(&key).map(AsRef::as_ref);
                    let new = CustomResource::from(translation).resources;
                    let lines = match plan::step(translation, known) {
                        Step::Nothing => None,
                        Step::Create => Some(vec![format!("create, {}", resources(new.len()))]),
                        Step::Wait => Some(vec!["create again, once it is deleted".to_owned()]),
                        Step::Change(patch) => {
                            let old = known.map(|known| known.resources.as_ref()).unwrap_or_default();
                            Some(changes(old, &new, &patch))
                        }
                    };
                    match lines {
                        None => self.same += 1,
                        Some(lines) => drop(self.lines.insert(key.clone(), lines)),
                    }
                    self.stay.insert(key);
                }
            }
        }
    }

    /// All of it as comments, once everything was taken in.
    pub fn comments(mut self, inventory: &Inventory, ours: impl Fn(&Owner) -> bool) -> String {
        for stored in inventory.iter().filter(|stored| !self.stay.contains(&stored.key) && !stored.deleting) {
            let whose = match Whose::of(stored) {
                Whose::Unmanaged => continue,
                Whose::Owner(owner) if !ours(&owner) => continue,
                Whose::Owner(Owner::Globals) => "the cluster's".to_owned(),
                Whose::Owner(Owner::Object(object)) => format!("of {object}"),
                Whose::Endpoints(key) => format!("of Endpoints {key}"),
            };
            self.lines.insert(
                stored.key.clone(),
                vec![format!("delete, {} {whose}", resources(stored.resources.len()))],
            );
        }
        let mut text = format!(
            "# {} of the Translations there differ or are to come, {} are as they are wanted.\n",
            self.lines.len(),
            self.same
        );
        for (key, lines) in &self.lines {
            for (at, line) in lines.iter().enumerate() {
                // A comment is one line.
                let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                text += &if at == 0 { format!("# {key}: {line}\n") } else { format!("#   {line}\n") };
            }
        }
        text
    }
}

fn resources(count: usize) -> String {
    if count == 1 { "1 resource".into() } else { format!("{count} resources") }
}

fn changes(old: &[Entry], new: &[Entry], patch: &serde_json::Value) -> Vec<String> {
    let metadata = patch.get("metadata").and_then(serde_json::Value::as_object);
    let fields: Vec<&str> = metadata
        .into_iter()
        .flat_map(serde_json::Map::keys)
        .map(String::as_str)
        .filter(|field| !matches!(*field, "resourceVersion" | "annotations"))
        .collect();
    let mut lines = vec![match fields.is_empty() {
        true => "change".to_owned(),
        false => format!("change, {} too", fields.join(" and ")),
    }];
    let shown = |sign: char, entry: &Entry| format!("{sign} {} {} {}", entry.kind, entry.parent, entry.body);
    lines.extend(old.iter().filter(|entry| !new.contains(entry)).map(|entry| shown('-', entry)));
    lines.extend(new.iter().filter(|entry| !old.contains(entry)).map(|entry| shown('+', entry)));
    lines
}

#[cfg(test)]
mod tests;
