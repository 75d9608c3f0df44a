//! Labels, and what selects by them.

mod api;

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::shared::{shared, shared_labels};
pub(super) use api::{readable, selector};

/// The labels of an object, sorted by key. There are tens of thousands of them: objects of equal labels share them, and all
/// labels share their texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(shared_labels(&[]))
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
        let shared = all.into_iter().map(|(key, value)| (shared(key.as_ref()), shared(value.as_ref())));
        let mut all: Vec<_> = shared.collect();
        all.sort();
        all.dedup_by(|a, b| a.0 == b.0);
        Self(shared_labels(&all))
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<(String, String)>::deserialize(from)?.into_iter().collect())
    }
}

/// A selector of labels (`metav1.LabelSelector`): all of its requirements have to hold. Without any it selects everything.
///
/// `matchLabels` are requirements too. They are sorted: equal selectors are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelSelector(pub Box<[Requirement]>);

/// What one label has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// What its value has to be.
    pub operator: Operator,
}

/// What the value of a label has to be. Lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// One of these.
    In(Box<[Arc<str>]>),
    /// None of these; an object without the label is selected.
    NotIn(Box<[Arc<str>]>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it selects an object with these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|Requirement { key, operator }| {
            let value = labels.get(key);
            match operator {
                Operator::In(values) => value.is_some_and(|value| values.iter().any(|one| **one == *value)),
                Operator::NotIn(values) => {
                    !value.is_some_and(|value| values.iter().any(|one| **one == *value))
                }
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

#[cfg(test)]
mod tests;
