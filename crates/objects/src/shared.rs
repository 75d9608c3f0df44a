//! What many objects have, once in memory: names of nodes, zones, Services and ports, and labels.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, de};

/// What somebody has. What nobody has any more is dropped whenever there is twice as much as after the last time.
#[derive(Debug)]
struct Pool<T: ?Sized> {
    all: HashSet<Arc<T>>,
    limit: usize,
}

/// Fewer are not worth a search for those that nobody has.
const FEW: usize = 1024;

type Label = (Arc<str>, Arc<str>);

static TEXTS: LazyLock<Mutex<Pool<str>>> = LazyLock::new(Mutex::default);
static LABELS: LazyLock<Mutex<Pool<[Label]>>> = LazyLock::new(Mutex::default);

/// The text, shared with everybody who has the same.
pub(crate) fn shared(text: &str) -> Arc<str> {
    TEXTS.lock().unwrap_or_else(PoisonError::into_inner).get(text)
}

/// The labels, shared with everybody who has the same.
pub(crate) fn shared_labels(labels: &[Label]) -> Arc<[Label]> {
    LABELS.lock().unwrap_or_else(PoisonError::into_inner).get(labels)
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), limit: 0 }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    fn get<'a>(&mut self, wanted: &'a T) -> Arc<T>
    where
        Arc<T>: From<&'a T>,
    {
        if let Some(known) = self.all.get(wanted) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.limit.max(FEW) {
            self.all.retain(|known| Arc::strong_count(known) > 1);
            self.limit = 2 * self.all.len();
        }
        let wanted = Arc::from(wanted);
        self.all.insert(Arc::clone(&wanted));
        wanted
    }
}

/// A shared text, as a field that is read.
#[derive(Debug, Clone)]
pub(crate) struct Shared(pub(crate) Arc<str>);

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Shared;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Shared, E> {
                Ok(Shared(shared(text)))
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_text_is_there_once_and_what_nobody_has_is_dropped() {
        let mut texts = Pool::<str>::default();
        let kept: Vec<Arc<str>> = (0..FEW).map(|number| texts.get(&number.to_string())).collect();
        assert!(Arc::ptr_eq(&kept[7], &texts.get("7")));
        for number in FEW..9 * FEW {
            texts.get(&number.to_string());
            assert!(texts.all.len() <= 2 * FEW, "{}", texts.all.len());
        }
        assert!(Arc::ptr_eq(&kept[7], &texts.get("7")));
    }
}
