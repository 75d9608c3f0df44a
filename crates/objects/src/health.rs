use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::ApiErrors;
use crate::kind::{Invalid, Key};

/// The objects that cannot be used, by kind ("Node") and key, each with what is wrong.
pub type InvalidObjects = BTreeMap<&'static str, BTreeMap<Key, Invalid>>;

/// What is wrong with a source and its objects, if anything. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
    invalid: watch::Sender<InvalidObjects>,
    errors: ApiErrors,
}

/// By what is read from the source: a kind of objects, or all manifests.
#[derive(Debug, Default)]
struct State {
    errors: BTreeMap<&'static str, String>,
    /// The causes that the log has named since the last time that all was well.
    logged: BTreeSet<String>,
    from_disk: BTreeMap<&'static str, SystemTime>,
}

/// How many causes are remembered as logged: one more, and each is logged again.
const LOGGED: usize = 64;

impl State {
    /// Each cause once: most keep all kinds of objects away.
    fn error(&self) -> Option<String> {
        let causes: BTreeSet<&str> = self.errors.values().map(String::as_str).collect();
        (!causes.is_empty()).then(|| causes.into_iter().collect::<Vec<_>>().join("; "))
    }

    /// Notes what the log has not named yet, and returns it. Kinds fail and recover one after the other, so a cause may be
    /// that of the first, then of none, then of another.
    fn take_new(&mut self) -> Option<String> {
        let new: BTreeSet<String> =
            self.errors.values().filter(|error| !self.logged.contains(*error)).cloned().collect();
        if self.logged.len() + new.len() > LOGGED {
            self.logged.clear();
        }
        self.logged.extend(new.iter().cloned());
        (!new.is_empty()).then(|| new.into_iter().collect::<Vec<_>>().join("; "))
    }
}

impl Health {
    /// Why objects do not arrive, or not all of them; `None` when they do.
    pub fn error(&self) -> Option<String> {
        self.lock().error()
    }

    /// Since when the objects, or some kind of them, are those that were cached on disk, the source having been away
    /// since the start; `None` when they are the source's own.
    pub fn from_disk(&self) -> Option<SystemTime> {
        self.lock().from_disk.values().min().copied()
    }

    /// The objects that cannot be used, now and whenever that changes.
    pub fn invalid_objects(&self) -> watch::Receiver<InvalidObjects> {
        self.invalid.subscribe()
    }

    /// Which requests failed, from the start on.
    pub fn api_errors(&self) -> &ApiErrors {
        &self.errors
    }

    pub(crate) fn set_from_disk(&self, what: &'static str, saved: Option<SystemTime>) {
        let from_disk = &mut self.lock().from_disk;
        match saved {
            Some(saved) => from_disk.insert(what, saved),
            None => from_disk.remove(what),
        };
    }

    /// Replaces what is known of one kind's objects.
    pub(crate) fn set_invalid(&self, kind: &'static str, objects: &BTreeMap<Key, Invalid>) {
        self.invalid.send_if_modified(|all| {
            if all.get(kind).map_or(objects.is_empty(), |known| known == objects) {
                return false;
            }
            match objects.is_empty() {
                true => all.remove(kind),
                false => all.insert(kind, objects.clone()),
            };
            true
        });
    }

    /// Notes the state; logs a cause that is new, and that all is well again.
    pub(crate) fn set(&self, what: &'static str, error: Option<String>) {
        let mut state = self.lock();
        match error {
            Some(error) => state.errors.insert(what, error),
            None => state.errors.remove(what),
        };
        let new = state.take_new();
        let recovered = state.errors.is_empty() && !state.logged.is_empty();
        if recovered {
            state.logged.clear();
        }
        drop(state);
        if let Some(error) = new {
            warn!(error, "objects do not arrive, or not all: the last known state stays");
        }
        if recovered {
            info!("objects arrive again");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_named_once_however_many_kinds_it_keeps_away() {
        let health = Health::default();
        for what in ["Node", "Service"] {
            health.set(what, Some("connection refused".into()));
        }
        assert_eq!(health.error().as_deref(), Some("connection refused"));
        health.set("Node", Some("403".into()));
        assert_eq!(health.error().as_deref(), Some("403; connection refused"));
        health.set("Service", None);
        assert_eq!(health.error().as_deref(), Some("403"));
        health.set("Node", None);
        assert_eq!(health.error(), None);
    }

    #[test]
    fn a_cause_is_logged_once_until_all_is_well() {
        let mut state = State::default();
        let mut set = |what, error: &str| {
            state.errors.insert(what, error.into());
            state.take_new()
        };
        assert_eq!(set("Node", "refused").as_deref(), Some("refused"));
        assert_eq!(set("Service", "refused"), None);
        assert_eq!(set("Node", "403").as_deref(), Some("403"));
        assert_eq!(set("Service", "403"), None);
        assert_eq!(set("Node", "refused"), None);
        for n in 0..LOGGED * 2 {
            set("Node", &n.to_string());
        }
        assert!(state.logged.len() <= LOGGED);
    }

    #[test]
    fn the_oldest_kind_on_disk_counts() {
        let (health, old) = (Health::default(), SystemTime::UNIX_EPOCH);
        health.set_from_disk("Node", Some(SystemTime::now()));
        health.set_from_disk("Service", Some(old));
        assert_eq!(health.from_disk(), Some(old));
        health.set_from_disk("Service", None);
        health.set_from_disk("Node", None);
        assert_eq!(health.from_disk(), None);
    }
}
