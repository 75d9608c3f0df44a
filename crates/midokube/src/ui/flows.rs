//! Flows of all nodes, as they change: pure, and bounded.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::flows::{DENIED, Flow, merge};

/// How many are remembered at most; when there are more, a tenth goes, those with the oldest last packets first.
const MOST: usize = 100_000;

/// Of two ends and their ports, what is remembered at most: connections one after the other.
const OF_A_PATH: usize = 32;

/// How long one is remembered after its last packet.
const HOUR: u64 = 3600;

/// How long a rate counts: agents tell of a connection that goes on every ten seconds.
const RATE: Duration = Duration::from_secs(15);

/// A flow, and what goes through it now.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) flow: Flow,
    told: Instant,
    rate: u64,
    rated: Instant,
}

impl Seen {
    /// How long ago its last packet came.
    pub(super) fn last_seconds(&self, now: Instant) -> u64 {
        self.flow.last_seconds.saturating_add(now.saturating_duration_since(self.told).as_secs())
    }

    /// Bytes a second, of both directions.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        let counts = !self.flow.ended && now.saturating_duration_since(self.rated) <= RATE;
        if counts { self.rate } else { 0 }
    }
}

/// What nodes say of what has the same ends, and that put together.
#[derive(Debug, Default)]
struct Path {
    told: Vec<(Flow, Instant)>,
    seen: Vec<Seen>,
}

/// All flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    paths: HashMap<(String, String, String), Path>,
    count: usize,
}

impl Flows {
    /// What a node says of a flow now.
    pub(super) fn add(&mut self, flow: Flow, now: Instant) {
        let denied = flow.state == DENIED;
        let key = if denied {
            (DENIED.to_owned(), flow.nodes.join(" "), flow.id.clone())
        } else {
            (flow.protocol.clone().unwrap_or_default(), flow.source.socket(), flow.backend.socket())
        };
        let path = self.paths.entry(key).or_default();
        let before = path.told.len();
        match path.told.iter_mut().find(|(known, _)| known.nodes == flow.nodes && known.id == flow.id) {
            Some(known) => *known = (flow, now),
            None => path.told.push((flow, now)),
        }
        if path.told.len() > OF_A_PATH {
            path.told.remove(0);
        }
        self.count = (self.count + path.told.len()).saturating_sub(before);
        path.put_together(now);
        if self.count > MOST {
            self.make_room();
        }
    }

    /// Forgets what is too old.
    pub(super) fn forget(&mut self, now: Instant) {
        self.keep(|flow, told| flow.last_seconds + now.saturating_duration_since(told).as_secs() <= HOUR);
    }

    /// Forgets what nodes say that are not there any more.
    pub(super) fn keep_nodes(&mut self, is_there: impl Fn(&str) -> bool) {
        self.keep(|flow, _| flow.nodes.iter().any(|node| is_there(node)));
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.paths.values().flat_map(|path| &path.seen)
    }

    fn make_room(&mut self) {
        let mut last: Vec<u64> = self.told().map(|flow| flow.last_milliseconds).collect();
        let index = MOST / 10;
        let Some(_) = last.get(index) else { return };
        let (older, limit, _) = last.select_nth_unstable(index);
        // Of those with the same last packet some go, some stay.
        let mut ties = older.iter().filter(|last| *last == limit).count();
        let limit = *limit;
        self.keep(|flow, _| match flow.last_milliseconds.cmp(&limit) {
            Ordering::Less => false,
            Ordering::Equal if ties > 0 => {
                ties -= 1;
                false
            }
            _ => true,
        });
    }

    fn told(&self) -> impl Iterator<Item = &Flow> {
        self.paths.values().flat_map(|path| path.told.iter().map(|(flow, _)| flow))
    }

    fn keep(&mut self, mut stays: impl FnMut(&Flow, Instant) -> bool) {
        self.paths.retain(|_, path| {
            let before = path.told.len();
            path.told.retain(|(flow, told)| stays(flow, *told));
            if path.told.len() != before {
                let Path { told, seen } = path;
                seen.retain(|seen| told.iter().any(|(flow, _)| flow.id == seen.flow.id));
            }
            !path.told.is_empty()
        });
        self.count = self.told().count();
    }
}

impl Path {
    fn put_together(&mut self, now: Instant) {
        let merged = merge(self.told.iter().map(|(flow, _)| flow.clone()));
        let before = std::mem::take(&mut self.seen);
        let seen = |flow: Flow| {
            let told = self.told.iter().filter(|(one, _)| one.last_milliseconds == flow.last_milliseconds);
            let told = told.map(|(_, told)| *told).max().unwrap_or(now);
            let known = before.iter().find(|seen| {
                seen.flow.id == flow.id || seen.flow.began_milliseconds == flow.began_milliseconds
            });
            let (rate, rated) = rate(known, &flow, now);
            Seen { flow, told, rate, rated }
        };
        self.seen = merged.into_iter().map(seen).collect();
    }
}

fn bytes(flow: &Flow) -> u64 {
    flow.client_bytes.saturating_add(flow.server_bytes)
}

/// What goes through a flow, by what it was before; of a new one by what went through it since it began.
fn rate(known: Option<&Seen>, flow: &Flow, now: Instant) -> (u64, Instant) {
    let a_second = |bytes: u64, from: u64| {
        bytes.saturating_mul(1000) / flow.last_milliseconds.saturating_sub(from).max(1000)
    };
    match known {
        _ if flow.state == DENIED => (0, now),
        Some(known) if bytes(flow) > bytes(&known.flow) => {
            (a_second(bytes(flow) - bytes(&known.flow), known.flow.last_milliseconds), now)
        }
        Some(known) => (known.rate, known.rated),
        None if flow.late || flow.last_seconds > RATE.as_secs() => (0, now),
        None => (a_second(bytes(flow), flow.began_milliseconds), now),
    }
}
