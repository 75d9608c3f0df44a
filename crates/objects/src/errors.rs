use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the API server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// All objects.
    List,
    /// Changes from then on.
    Watch,
    /// A Pod's annotations, or this Node's condition.
    Patch,
    /// An Event.
    Create,
}

/// Why it did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No connection: DNS, routing, a refusal, TLS.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// 401: the token or certificate is not accepted.
    Unauthorized,
    /// 403: RBAC does not allow it.
    Forbidden,
    /// 429: too many requests.
    Throttled,
    /// 5xx.
    Server,
    /// Another status, or an answer that cannot be read.
    Other,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::List, Self::Watch, Self::Patch, Self::Create];

    /// As RBAC calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
            Self::Patch => "patch",
            Self::Create => "create",
        }
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Throttled,
        Self::Server,
        Self::Other,
    ];

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Other => "other",
        }
    }
}

/// How many requests to the API server failed. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct ApiErrors(Arc<[[AtomicU64; Reason::ALL.len()]; Verb::ALL.len()]>);

impl ApiErrors {
    pub(crate) fn count(&self, verb: Verb, reason: Reason) {
        if let Some(counter) = self.counter(verb, reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many of this kind, from the start on.
    pub fn get(&self, verb: Verb, reason: Reason) -> u64 {
        self.counter(verb, reason).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn counter(&self, verb: Verb, reason: Reason) -> Option<&AtomicU64> {
        self.0.get(verb as usize)?.get(reason as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_counter() {
        let errors = ApiErrors::default();
        for verb in Verb::ALL {
            for reason in Reason::ALL {
                assert_eq!(errors.get(verb, reason), 0);
                errors.clone().count(verb, reason);
                assert_eq!(errors.get(verb, reason), 1);
            }
        }
    }
}
