//! The flows of the last hour, as many as there is space for, in the order of their last change.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use datapath::records::Record;
use hashbrown::HashTable;

use super::flow::{Flow, Identity};

/// How long a flow is kept after its last packet.
const KEPT: Duration = Duration::from_secs(3600);

/// How many flows a page has: some MiB as a message.
const PAGE: usize = 4096;

/// The flows that changed after a moment.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) flows: Vec<Flow>,
    /// Where the next page begins.
    pub(crate) next: u64,
    /// Whether there is one by now.
    pub(crate) more: bool,
}

/// The flows. At thousands of new ones a second what costs time is memory that no cache has: the index has eight bytes for each
/// flow, and flows that come after each other lie beside each other.
#[derive(Debug)]
pub(super) struct Store {
    space: usize,
    /// Half of the hash of each flow's identity, and where the flow is.
    index: HashTable<(u32, u32)>,
    hasher: RandomState,
    places: Vec<Place>,
    free: Vec<u32>,
    /// By the number of their last change: the first is the one that nothing was heard of for longest. One that changed again,
    /// or is gone, is still where it was in this order until that comes first, or there are too many of those.
    changes: VecDeque<(u64, u32)>,
    /// The number of the last change.
    last: u64,
    dropped: u64,
    /// The number of the look at all records that is going on, or was the last.
    look: u64,
}

/// Space for a flow.
#[derive(Debug)]
struct Place {
    /// The number of its last change.
    change: u64,
    /// The look at all records at which it was seen last, or before which.
    look: u64,
    flow: Option<Flow>,
}

/// What a record is to the store.
#[derive(Debug)]
pub(super) enum Known<'a> {
    /// Nothing is known of the flow, or other rules of policy.
    No,
    /// The flow has it, or something later.
    Same(&'a mut Flow),
    /// It was news, and is in the flow now.
    Changed(&'a mut Flow),
}

/// Outdated entries in the order of changes that may be there, besides as many as there are flows.
const OUTDATED: usize = 1024;

/// A hash that is as good as its half, for a table that looks at both ends of it.
fn whole(half: u32) -> u64 {
    u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Place {
    fn is(&self, identity: &Identity) -> bool {
        self.flow.as_ref().is_some_and(|flow| Flow::identity(&flow.record) == *identity)
    }
}

impl Store {
    /// An empty one with space for so many; at least one.
    pub(super) fn new(space: usize) -> Self {
        Self {
            space: space.clamp(1, usize::try_from(u32::MAX).unwrap_or(usize::MAX)),
            index: HashTable::new(),
            hasher: RandomState::new(),
            places: Vec::new(),
            free: Vec::new(),
            changes: VecDeque::new(),
            last: 0,
            dropped: 0,
            look: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn space(&self) -> usize {
        self.space
    }

    /// How many had to go for others before their time.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Half of the hash of an identity.
    fn half(&self, identity: &Identity) -> u32 {
        let [a, b, c, d, ..] = self.hasher.hash_one(identity).to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }

    fn find(&self, identity: &Identity) -> Option<u32> {
        let half = self.half(identity);
        let is_it = |(own, place): &(u32, u32)| {
            *own == half && self.place(*place).is_some_and(|place| place.is(identity))
        };
        self.index.find(whole(half), is_it).map(|(_, place)| *place)
    }

    fn place(&self, place: u32) -> Option<&Place> {
        self.places.get(usize::try_from(place).ok()?)
    }

    fn place_mut(&mut self, place: u32) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(place).ok()?)
    }

    /// Takes a record into a flow that is known, with the same rules of policy. It gets no new names.
    pub(super) fn renew(&mut self, record: &Record, ended: bool) -> Known<'_> {
        let found = self.find(&Flow::identity(record));
        let (look, change) = (self.look, self.last + 1);
        let Some(index) = found else { return Known::No };
        let Some(place) = self.place_mut(index) else { return Known::No };
        place.look = look;
        let news = match &place.flow {
            Some(known) if known.record.last > record.last => false,
            Some(known) if known.record == *record && (known.ended || !ended) => false,
            Some(known) if known.is_judged_as(record) => true,
            _ => return Known::No,
        };
        if news {
            place.change = change;
            if let Some(flow) = &mut place.flow {
                flow.record = *record;
                flow.ended |= ended;
            }
            self.last = change;
            self.changes.push_back((change, index));
            self.tidy();
        }
        match self.place_mut(index).and_then(|place| place.flow.as_mut()) {
            Some(flow) if news => Known::Changed(flow),
            Some(flow) => Known::Same(flow),
            None => Known::No,
        }
    }

    /// Adds a flow, or puts it in the place of what was known of it: names are those of the time when it began, unless they were
    /// not known yet. Whoever nothing was heard of for longest may have to go.
    pub(super) fn put(&mut self, mut flow: Flow) -> Option<&mut Flow> {
        let identity = Flow::identity(&flow.record);
        let index = match self.find(&identity) {
            Some(index) => {
                let known = self.place_mut(index)?.flow.take()?;
                flow.client = known.client.or(flow.client);
                flow.server = known.server.or(flow.server);
                flow.service = known.service.or(flow.service);
                flow.ended |= known.ended;
                flow.written = known.written;
                index
            }
            None => self.add(&identity)?,
        };
        self.last += 1;
        let (change, look) = (self.last, self.look);
        self.changes.push_back((change, index));
        self.tidy();
        let place = self.place_mut(index)?;
        (place.change, place.look) = (change, look);
        Some(place.flow.insert(flow))
    }

    /// Gives a flow that is known the names that it lacks, and returns it.
    pub(super) fn name(&mut self, named: Flow) -> Option<&mut Flow> {
        let index = self.find(&Flow::identity(&named.record))?;
        let change = self.last + 1;
        let place = self.place_mut(index)?;
        let known = place.flow.as_mut()?;
        let before = known.names();
        known.client = known.client.take().or(named.client);
        known.server = known.server.take().or(named.server);
        known.service = known.service.take().or(named.service);
        if known.names() != before {
            place.change = change;
            self.last = change;
            self.changes.push_back((change, index));
            self.tidy();
        }
        self.place_mut(index)?.flow.as_mut()
    }

    /// A place for a new flow.
    fn add(&mut self, identity: &Identity) -> Option<u32> {
        if self.index.len() >= self.space {
            self.drop_oldest();
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.places.push(Place { change: 0, look: 0, flow: None });
                u32::try_from(self.places.len() - 1).ok()?
            }
        };
        let half = self.half(identity);
        self.index.insert_unique(whole(half), (half, index), |(half, _)| whole(*half));
        Some(index)
    }

    fn drop_oldest(&mut self) {
        while let Some((change, index)) = self.changes.pop_front() {
            if self.place(index).is_some_and(|place| place.change == change) {
                self.remove(index);
                self.dropped += 1;
                return;
            }
        }
    }

    fn remove(&mut self, index: u32) {
        let Some(place) = self.place_mut(index) else { return };
        place.change = 0;
        let Some(flow) = place.flow.take() else { return };
        let half = self.half(&Flow::identity(&flow.record));
        if let Ok(entry) = self.index.find_entry(whole(half), |(_, one)| *one == index) {
            entry.remove();
        }
        self.free.push(index);
    }

    /// Forgets what is outdated in the order of changes, if it is too much.
    fn tidy(&mut self) {
        if self.changes.len() > 2 * self.index.len() + OUTDATED {
            let (places, last) = (&self.places, self.last);
            let stays = |(change, index): &(u64, u32)| {
                let place = usize::try_from(*index).ok().and_then(|index| places.get(index));
                // The last one is just being made.
                *change == last || place.is_some_and(|place| place.change == *change)
            };
            self.changes.retain(stays);
        }
    }

    /// Begins a look at all records.
    pub(super) fn look(&mut self) {
        self.look += 1;
    }

    /// The flows that go on as far as is known, but had no record at this look, and no packet for so long before now.
    pub(super) fn without_record(&self, silent: Duration, now: Duration) -> Vec<Record> {
        let missed = self.places.iter().filter(|place| place.look != self.look);
        let flows = missed.filter_map(|place| place.flow.as_ref());
        let gone = flows.filter(|flow| !flow.ended && now.saturating_sub(flow.record.last) > silent);
        gone.map(|flow| flow.record).collect()
    }

    /// Forgets what had its last packet more than an hour ago.
    pub(super) fn expire(&mut self, now: Duration) {
        let is_over = |(index, place): (usize, &Place)| {
            let flow = place.flow.as_ref()?;
            (now.saturating_sub(flow.record.last) > KEPT).then(|| u32::try_from(index).ok())?
        };
        let over: Vec<u32> = self.places.iter().enumerate().filter_map(is_over).collect();
        over.into_iter().for_each(|index| self.remove(index));
        self.tidy();
    }

    /// Those that changed after that number; with `since` only those with a packet in so much time before now.
    pub(super) fn page(&self, after: u64, since: Option<Duration>, now: Duration) -> Page {
        // Of a store before this one, or of nobody: from the beginning.
        let after = if after > self.last && after != u64::MAX { 0 } else { after };
        let first = self.changes.partition_point(|(change, _)| *change <= after);
        let mut page = Page { next: self.last.max(after), ..Page::default() };
        for (change, index) in self.changes.range(first..) {
            let place = self.place(*index).filter(|place| place.change == *change);
            let Some(flow) = place.and_then(|place| place.flow.as_ref()) else { continue };
            if since.is_some_and(|since| now.saturating_sub(flow.record.last) > since) {
                continue;
            }
            if page.flows.len() == PAGE {
                page.more = true;
                return page;
            }
            page.flows.push(flow.clone());
            page.next = *change;
        }
        page.next = self.last.max(after);
        page
    }
}

#[cfg(test)]
mod tests;
