//! The words that selectors in use know: which labels of an object can matter at all.
//!
//! A label that no selector asks for is as good as absent, and a value that none names is like any other such value. What
//! remains of an object's labels is its *pattern*; most changes of labels leave it as it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use objects::{LabelSelector, Labels, Operator, Requirement};

use crate::hash::Counter;

/// A label: its key, and its value, or [`OTHER`].
pub(crate) type Label = (usize, usize);

/// A value that no selector names.
pub(crate) const OTHER: usize = 0;

/// What is left of an object's labels, sorted.
pub(crate) type Pattern = Box<[Label]>;

/// A selector in the vocabulary's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Selects(Box<[Wanted]>);

/// What a label has to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    In(usize, Box<[usize]>),
    NotIn(usize, Box<[usize]>),
    Exists(usize),
    Absent(usize),
}

impl Selects {
    /// Whether it selects an object of this pattern.
    pub(crate) fn matches(&self, pattern: &[Label]) -> bool {
        let value = |key: usize| pattern.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        self.0.iter().all(|wanted| match wanted {
            Wanted::In(key, values) => value(*key).is_some_and(|value| values.contains(&value)),
            Wanted::NotIn(key, values) => !value(*key).is_some_and(|value| values.contains(&value)),
            Wanted::Exists(key) => value(*key).is_some(),
            Wanted::Absent(key) => value(*key).is_none(),
        })
    }

    /// All requirements.
    pub(crate) fn wanted(&self) -> &[Wanted] {
        &self.0
    }
}

/// The keys and values that selectors in use name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vocabulary {
    keys: HashMap<Arc<str>, Word>,
    changed: Changed,
}

#[derive(Debug, Clone)]
struct Word {
    number: usize,
    uses: usize,
    values: HashMap<Arc<str>, (usize, usize)>,
}

/// Labels that got into the vocabulary or out of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changed {
    keys: HashSet<Arc<str>>,
    values: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

impl Changed {
    /// Whether nothing did.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.values.is_empty()
    }

    /// Whether the pattern of an object with these labels may be another now.
    pub(crate) fn touches(&self, labels: &Labels) -> bool {
        labels.iter().any(|(key, value)| {
            self.keys.contains(key) || self.values.get(key).is_some_and(|values| values.contains(value))
        })
    }
}

impl Vocabulary {
    /// Learns the words of a selector that is used once more.
    pub(crate) fn learn(&mut self, selector: &LabelSelector, counter: &mut Counter) -> Selects {
        Selects(selector.0.iter().map(|requirement| self.learn_one(requirement, counter)).collect())
    }

    fn learn_one(&mut self, Requirement { key, operator }: &Requirement, counter: &mut Counter) -> Wanted {
        let Self { keys, changed } = self;
        let word = keys.entry(Arc::clone(key)).or_insert_with(|| {
            changed.keys.insert(Arc::clone(key));
            Word { number: counter.next(), uses: 0, values: HashMap::new() }
        });
        word.uses += 1;
        let number = word.number;
        let mut numbers = |values: &[Arc<str>]| {
            let number = |value: &Arc<str>| {
                let (number, uses) = word.values.entry(Arc::clone(value)).or_insert_with(|| {
                    changed.values.entry(Arc::clone(key)).or_default().insert(Arc::clone(value));
                    (counter.next(), 0)
                });
                *uses += 1;
                *number
            };
            values.iter().map(number).collect()
        };
        match operator {
            Operator::In(values) => Wanted::In(number, numbers(values)),
            Operator::NotIn(values) => Wanted::NotIn(number, numbers(values)),
            Operator::Exists => Wanted::Exists(number),
            Operator::DoesNotExist => Wanted::Absent(number),
        }
    }

    /// Forgets the words of a selector that is used once less.
    pub(crate) fn forget(&mut self, selector: &LabelSelector) {
        for Requirement { key, operator } in &selector.0 {
            let Some(word) = self.keys.get_mut(key) else { continue };
            if let Operator::In(values) | Operator::NotIn(values) = operator {
                for value in values {
                    if let Some((_, uses)) = word.values.get_mut(value) {
                        *uses -= 1;
                        if *uses == 0 {
                            word.values.remove(value);
                            let changed = self.changed.values.entry(Arc::clone(key)).or_default();
                            changed.insert(Arc::clone(value));
                        }
                    }
                }
            }
            word.uses -= 1;
            if word.uses == 0 {
                self.keys.remove(key);
                self.changed.keys.insert(Arc::clone(key));
            }
        }
    }

    /// What selectors in use see of these labels.
    pub(crate) fn see(&self, labels: &Labels) -> impl Iterator<Item = Label> {
        let labels = (!self.keys.is_empty()).then(|| labels.iter()).into_iter().flatten();
        labels.filter_map(|(key, value)| {
            let word = self.keys.get(key)?;
            Some((word.number, word.values.get(value).map_or(OTHER, |(number, _)| *number)))
        })
    }

    /// Whether it knows nothing, and nothing changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.changed.is_empty()
    }

    /// What changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }
}

/// What is seen, in order.
pub(crate) fn pattern(seen: impl Iterator<Item = Label>) -> Pattern {
    let mut pattern: Vec<Label> = seen.collect();
    pattern.sort_unstable();
    pattern.into()
}
