//! Events: what happened to Translations and their owners, and what is wrong with objects. As client-go does it, an object has
//! no more than a few in a short time; what is too much is counted.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use objects::{EventRecorder, ObjectEvent};
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

/// Takes events. Clones give to the same.
#[derive(Debug, Clone)]
pub struct Events {
    sender: mpsc::Sender<ObjectEvent>,
    metrics: Metrics,
}

/// Creates Events of them.
#[derive(Debug)]
pub struct EventWriter {
    receiver: mpsc::Receiver<ObjectEvent>,
    metrics: Metrics,
    limit: Limit,
}

/// Both ends.
pub fn channel(metrics: &Metrics) -> (Events, EventWriter) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let limit = Limit::new(Instant::now());
    let events = Events { sender, metrics: metrics.clone() };
    (events, EventWriter { receiver, metrics: metrics.clone(), limit })
}

impl Events {
    /// Has an Event created, unless too many wait already: then it is counted as dropped.
    pub fn tell(&self, event: ObjectEvent) {
        if self.sender.try_send(event).is_err() {
            self.metrics.event_dropped();
        }
    }
}

impl EventWriter {
    /// Creates Events, for ever.
    pub async fn run(mut self, recorder: EventRecorder) {
        while let Some(event) = self.receiver.recv().await {
            match self.limit.allows(&event, Instant::now()) {
                Verdict::Tell => match recorder.tell(&event).await {
                    Ok(()) => self.metrics.event_created(),
                    Err(fault) => {
                        debug!(%fault, reason = event.reason, "an Event was not created");
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

    fn allows(&mut self, event: &ObjectEvent, now: Instant) -> Verdict {
        let mut hasher = DefaultHasher::new();
        event.hash(&mut hasher);
        let hash = hasher.finish();
        // What went well is news each time.
        let told = self.told.get(&hash).filter(|at| now.duration_since(**at) < AGAIN);
        if told.is_some() && event.warning {
            return Verdict::Told;
        }
        self.tokens = (self.tokens + now.duration_since(self.filled).as_secs_f64() * RATE).min(BURST);
        self.filled = now;
        if self.tokens < 1.0 {
            return Verdict::TooMany;
        }
        self.tokens -= 1.0;
        if event.warning {
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

    fn event(name: &str, warning: bool) -> ObjectEvent {
        ObjectEvent {
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
        assert_eq!(limit.allows(&event("a", true), now), Verdict::Tell);
        assert_eq!(limit.allows(&event("a", true), now + Duration::from_secs(60)), Verdict::Told);
        assert_eq!(limit.allows(&event("b", true), now), Verdict::Tell);
        assert_eq!(limit.allows(&event("a", true), now + AGAIN), Verdict::Tell);
        assert_eq!(limit.allows(&event("c", false), now + AGAIN), Verdict::Tell);
        assert_eq!(limit.allows(&event("c", false), now + AGAIN), Verdict::Tell);
    }

    #[test]
    fn there_are_no_more_than_a_burst_and_then_some_a_second() {
        let now = Instant::now();
        let mut limit = Limit::new(now);
        let mut told =
            |at| (0..1000).filter(|_| limit.allows(&event("a", false), at) == Verdict::Tell).count();
        assert_eq!(told(now), 200);
        assert_eq!(told(now + Duration::from_secs(1)), 10);
        for name in 0..100_000 {
            limit.allows(&event(&name.to_string(), true), now + Duration::from_secs(name));
        }
        assert!(limit.told.len() <= REMEMBERED);
    }
}
