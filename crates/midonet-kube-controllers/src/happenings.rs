//! Events: what happened to Translations and their owners, and what is wrong with objects. As client-go does it, an object has
//! no more than a few in a short time; what is too much is counted.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use objects::{Incident, Narrator};
use tokio::sync::mpsc;
use tracing::debug;

use crate::metrics::Metrics;

/// So many wait to be created.
const WAITING: usize = 1000;

/// The same about the same object is not told again for so long.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// So many are remembered as told.
const REMEMBERED: usize = 20_000;

/// So many are created in a burst, and in a second.
const BURST: f64 = 200.0;
const RATE: f64 = 10.0;

/// Takes incidents. Clones give to the same.
#[derive(Debug, Clone)]
pub struct Happenings {
    sender: mpsc::Sender<Incident>,
    metrics: Metrics,
}

/// Creates Events of them.
#[derive(Debug)]
pub struct Telling {
    receiver: mpsc::Receiver<Incident>,
    metrics: Metrics,
    limit: Limit,
}

/// Both ends.
pub fn happenings(metrics: &Metrics) -> (Happenings, Telling) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let limit = Limit::new(Instant::now());
    let happenings = Happenings { sender, metrics: metrics.clone() };
    (happenings, Telling { receiver, metrics: metrics.clone(), limit })
}

impl Happenings {
    /// Tells of something, if there is room.
    pub fn tell(&self, incident: Incident) {
        if self.sender.try_send(incident).is_err() {
            self.metrics.event_dropped();
        }
    }
}

impl Telling {
    /// Creates Events, for ever.
    pub async fn run(mut self, narrator: Narrator) {
        while let Some(incident) = self.receiver.recv().await {
            match self.limit.allows(&incident, Instant::now()) {
                Verdict::Tell => match narrator.tell(&incident).await {
                    Ok(()) => self.metrics.event_created(),
                    Err(fault) => {
                        debug!(%fault, reason = incident.reason, "an Event was not created");
                        self.metrics.event_dropped();
                    }
                },
                Verdict::Told => {}
                Verdict::TooMany => self.metrics.event_dropped(),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Tell,
    Told,
    TooMany,
}

/// What was told, and how much more may be.
#[derive(Debug)]
struct Limit {
    told: HashMap<u64, Instant>,
    tokens: f64,
    filled: Instant,
}

impl Limit {
    fn new(now: Instant) -> Self {
        Self { told: HashMap::new(), tokens: BURST, filled: now }
    }

    fn allows(&mut self, incident: &Incident, now: Instant) -> Verdict {
        let mut hasher = DefaultHasher::new();
        incident.hash(&mut hasher);
        let hash = hasher.finish();
        // What went well is news each time.
        let told = self.told.get(&hash).filter(|at| now.duration_since(**at) < AGAIN);
        if told.is_some() && incident.warning {
            return Verdict::Told;
        }
        self.tokens = (self.tokens + now.duration_since(self.filled).as_secs_f64() * RATE).min(BURST);
        self.filled = now;
        if self.tokens < 1.0 {
            return Verdict::TooMany;
        }
        self.tokens -= 1.0;
        if incident.warning {
            if self.told.len() >= REMEMBERED {
                self.told.clear();
            }
            self.told.insert(hash, now);
        }
        Verdict::Tell
    }
}

#[cfg(test)]
mod tests {
    use objects::Key;

    use super::*;

    fn incident(name: &str, warning: bool) -> Incident {
        Incident {
            api_version: "v1",
            kind: "Pod",
            key: Key::namespaced("default", name),
            uid: None,
            warning,
            action: "Convert",
            reason: "InvalidMac",
            note: "n".into(),
        }
    }

    #[test]
    fn the_same_warning_is_told_once_in_an_hour() {
        let now = Instant::now();
        let mut limit = Limit::new(now);
        assert_eq!(limit.allows(&incident("a", true), now), Verdict::Tell);
        assert_eq!(limit.allows(&incident("a", true), now + Duration::from_secs(60)), Verdict::Told);
        assert_eq!(limit.allows(&incident("b", true), now), Verdict::Tell);
        assert_eq!(limit.allows(&incident("a", true), now + AGAIN), Verdict::Tell);
        assert_eq!(limit.allows(&incident("c", false), now + AGAIN), Verdict::Tell);
        assert_eq!(limit.allows(&incident("c", false), now + AGAIN), Verdict::Tell);
    }

    #[test]
    fn there_are_no_more_than_a_burst_and_then_some_a_second() {
        let now = Instant::now();
        let mut limit = Limit::new(now);
        let mut told =
            |at| (0..1000).filter(|_| limit.allows(&incident("a", false), at) == Verdict::Tell).count();
        assert_eq!(told(now), 200);
        assert_eq!(told(now + Duration::from_secs(1)), 10);
        for name in 0..100_000 {
            limit.allows(&incident(&name.to_string(), true), now + Duration::from_secs(name));
        }
        assert!(limit.told.len() <= REMEMBERED);
    }
}
