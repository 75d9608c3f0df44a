//! Which Pods get an Event of what was denied to them, and when.
//!
//! What there is no Event of waits with its Pod and is added up: nothing is queued, and what is kept is bounded by the node's
//! Pods.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use datapath::drops::Drop;
use objects::PodRef;

use super::bucket::Bucket;
use super::differences::{Difference, own_end};

/// A Pod gets no more Events than one in this time.
const PAUSE: Duration = Duration::from_secs(60);

/// The node gets no more than ten a minute: so many at once, and as many more in a minute.
const AT_ONCE: u32 = 5;
const ANOTHER: Duration = Duration::from_secs(12);

/// So many connections of a Pod are told apart; one of them is named.
const TOLD_APART: usize = 64;

/// What was denied, by Pod.
#[derive(Debug)]
pub(super) struct Pending {
    pods: BTreeMap<Name, OfPod>,
    node: Bucket,
}

/// A Pod: namespace, name and UID.
type Name = (String, String, Option<String>);

#[derive(Debug)]
struct OfPod {
    /// One of its addresses.
    address: IpAddr,
    /// What was dropped, and what would have been but for an audit.
    sums: [Sum; 2],
    /// When it had its last Event, and which of the two that was about.
    told: Option<(Instant, usize)>,
    /// Since when something waits.
    since: Option<Instant>,
    /// Whether it is counted that it has to wait for the node's turn.
    limited: bool,
}

/// Packets of one kind that a Pod had no Event of.
#[derive(Debug, Default, Clone)]
pub(super) struct Sum {
    pub(super) packets: u64,
    rows: HashMap<Row, (Drop, u64)>,
    /// Whether there were more connections than are told apart.
    pub(super) more: bool,
}

/// What tells connections of a Pod apart, whichever rule decides.
type Row = (Option<IpAddr>, u16, u8, bool);

/// What an Event is to tell.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) pod: PodRef,
    pub(super) sum: Sum,
}

impl Sum {
    /// The connection with most packets, and how many it has; one that is told apart from others, if there is one.
    pub(super) fn most(&self) -> Option<(Drop, u64)> {
        let order = |(row, packets): &(Drop, u64)| (!row.others, *packets, row.last);
        self.rows.values().copied().max_by_key(order)
    }

    /// How many connections are told apart.
    pub(super) fn connections(&self) -> usize {
        self.rows.len()
    }

    fn add(&mut self, row: &Drop, packets: u64) {
        self.packets = self.packets.saturating_add(packets);
        self.more |= row.others;
        let peer = if row.ingress { row.source } else { row.destination };
        let key = (peer, row.port, row.protocol, row.ingress);
        if self.rows.len() >= TOLD_APART && !self.rows.contains_key(&key) {
            self.more = true;
            return;
        }
        let (known, sum) = self.rows.entry(key).or_insert((*row, 0));
        *known = *row;
        *sum = sum.saturating_add(packets);
    }
}

impl Pending {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { pods: BTreeMap::new(), node: Bucket::new(AT_ONCE, ANOTHER) }
    }

    /// Takes in what policy did of what was found. `pod` names the Pods of this node by their addresses: who is none has no
    /// Event.
    pub(super) fn add(&mut self, found: &[Difference], now: Instant, pod: impl Fn(IpAddr) -> Option<PodRef>) {
        let mut names = HashMap::new();
        for Difference { row, new, .. } in found.iter().filter(|one| one.row.is_of_policy()) {
            let Some(own) = own_end(row) else { continue };
            let Some(name) = names.entry(own).or_insert_with(|| pod(own).map(name_of)) else { continue };
            let known = self.pods.entry(name.clone()).or_insert_with(|| OfPod::new(own));
            let [denied, audited] = &mut known.sums;
            if row.audit { audited } else { denied }.add(row, *new);
            known.since.get_or_insert(now);
        }
    }

    /// What is to be told now, and how many Pods have to wait, for the first time, because others had their Events. Pods that
    /// are gone by now, so that their address is not theirs (`has`), are forgotten.
    pub(super) fn due(&mut self, now: Instant, has: impl Fn(&PodRef, IpAddr) -> bool) -> (Vec<Due>, usize) {
        let is_over = |told: Option<(Instant, usize)>| {
            told.is_none_or(|(at, _)| now.saturating_duration_since(at) >= PAUSE)
        };
        let mut waiting: Vec<(Instant, Name)> = self
            .pods
            .iter()
            .filter(|(_, pod)| is_over(pod.told))
            .filter_map(|(name, pod)| Some((pod.since?, name.clone())))
            .collect();
        waiting.sort();
        let (mut due, mut limited) = (Vec::new(), 0);
        for (_, name) in waiting {
            let pod = pod_of(&name);
            let Some(known) = self.pods.get_mut(&name) else { continue };
            if !has(&pod, known.address) {
                self.pods.remove(&name);
                continue;
            }
            if !self.node.take(now) {
                limited += usize::from(!std::mem::replace(&mut known.limited, true));
                continue;
            }
            due.push(Due { pod, sum: known.take(now) });
        }
        self.pods.retain(|_, pod| pod.since.is_some() || !is_over(pod.told));
        (due, limited)
    }

    /// Whether something waits to be told.
    pub(super) fn waits(&self) -> bool {
        self.pods.values().any(|pod| pod.since.is_some())
    }
}

impl OfPod {
    fn new(address: IpAddr) -> Self {
        Self { address, sums: [Sum::default(), Sum::default()], told: None, since: None, limited: false }
    }

    /// What is told of it now: of both kinds in turn.
    fn take(&mut self, now: Instant) -> Sum {
        let last = self.told.map_or(1, |(_, kind)| kind);
        let [denied, audited] = &mut self.sums;
        let kind = match (denied.packets > 0, audited.packets > 0) {
            (true, true) => 1 - last,
            (_, audited) => usize::from(audited),
        };
        let sum = std::mem::take(if kind == 0 { denied } else { audited });
        let waits = denied.packets > 0 || audited.packets > 0;
        (self.told, self.since, self.limited) = (Some((now, kind)), waits.then_some(now), false);
        sum
    }
}

fn name_of(PodRef { namespace, name, uid }: PodRef) -> Name {
    (namespace, name, uid)
}

fn pod_of((namespace, name, uid): &Name) -> PodRef {
    PodRef { namespace: namespace.clone(), name: name.clone(), uid: uid.clone() }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::tests::{pod, row};
    use super::*;

    fn found(rows: impl IntoIterator<Item = Drop>) -> Vec<Difference> {
        rows.into_iter().map(Difference::new).collect()
    }

    /// The Pod of an address of this node: 10.244.1.7 is that of "pod-7".
    fn named(address: IpAddr) -> Option<PodRef> {
        match address {
            IpAddr::V4(address) if address.octets()[2] == 1 => {
                Some(pod("shop", &format!("pod-{}", address.octets()[3])))
            }
            _ => None,
        }
    }

    fn to(number: u8) -> Drop {
        Drop { destination: Some(Ipv4Addr::new(10, 244, 1, number).into()), ..row() }
    }

    /// Which Pods get an Event of how many packets, and how many have to wait.
    fn due(pending: &mut Pending, now: Instant) -> (Vec<(String, u64)>, usize) {
        let (due, limited) = pending.due(now, |_, _| true);
        (due.into_iter().map(|one| (one.pod.name, one.sum.packets)).collect(), limited)
    }

    #[test]
    fn a_pod_has_one_event_a_minute_of_all_that_there_was() {
        let (mut pending, start) = (Pending::new(), Instant::now());
        for second in 0..180u64 {
            let now = start + Duration::from_secs(second);
            pending.add(&found([Drop { packets: 2, ..to(7) }]), now, named);
            let want = match second {
                0 => vec![("pod-7".to_owned(), 2)],
                60 | 120 => vec![("pod-7".to_owned(), 120)],
                _ => Vec::new(),
            };
            assert_eq!(due(&mut pending, now), (want, 0), "{second}");
        }
        assert!(pending.waits());
        assert_eq!(due(&mut pending, start + Duration::from_secs(180)).0, [("pod-7".to_owned(), 118)]);
        assert!(!pending.waits());
        // It is not remembered for longer than it counts.
        assert_eq!(pending.pods.len(), 1);
        due(&mut pending, start + Duration::from_secs(240));
        assert_eq!(pending.pods.len(), 0);
    }

    #[test]
    fn the_node_has_ten_a_minute_and_who_waits_longest_is_next() {
        let (mut pending, start) = (Pending::new(), Instant::now());
        pending.add(&found((1..=200).map(to)), start, named);
        let mut told = Vec::new();
        let mut limited = 0;
        for second in 0..600u64 {
            let now = start + Duration::from_secs(second);
            // One of them goes on.
            pending.add(&found([to(3)]), now, named);
            let (names, more) = due(&mut pending, now);
            told.extend(names.into_iter().map(|(name, _)| (second, name)));
            limited += more;
        }
        for minute in 0..540 {
            let in_it = told.iter().filter(|(second, _)| (minute..minute + 60).contains(second)).count();
            assert!(in_it <= 10, "{in_it} from {minute}");
        }
        assert!(told.len() >= 50, "{}", told.len());
        let names: std::collections::BTreeSet<&String> = told.iter().map(|(_, name)| name).collect();
        assert!(names.len() >= told.len() - 1, "who had one waits behind those who had none");
        assert!((195..=201).contains(&limited), "each is counted once: {limited}");
    }

    #[test]
    fn who_is_no_pod_of_this_node_or_gone_has_none() {
        let (mut pending, start) = (Pending::new(), Instant::now());
        let outgoing = Drop { ingress: false, source: "10.244.9.9".parse().ok(), ..row() };
        let by_nobody = Drop { reason: "no_endpoint", ..row() };
        pending.add(&found([outgoing, by_nobody]), start, named);
        assert!(!pending.waits());
        pending.add(&found([to(7), to(8)]), start, named);
        let (due, limited) =
            pending.due(start, |pod, address| named(address).as_ref() == Some(pod) && pod.name == "pod-8");
        assert_eq!((due.len(), due[0].pod.name.as_str(), limited), (1, "pod-8", 0));
        assert!(!pending.waits());
    }

    #[test]
    fn denials_and_audits_take_turns() {
        let (mut pending, start) = (Pending::new(), Instant::now());
        let audited = Drop { audit: true, packets: 5, ..to(7) };
        let mut kinds = Vec::new();
        for minute in 0..4u64 {
            let now = start + 60 * Duration::from_secs(minute);
            pending.add(&found([to(7), audited]), now, named);
            let (due, _) = pending.due(now, |_, _| true);
            kinds.extend(due.iter().map(|one| (one.sum.most().unwrap().0.audit, one.sum.packets)));
        }
        assert_eq!(kinds, [(false, 1), (true, 10), (false, 2), (true, 10)]);
    }

    #[test]
    fn the_busiest_connection_is_named_and_what_is_kept_is_bounded() {
        let (mut pending, start) = (Pending::new(), Instant::now());
        let scan = (1..=10_000).map(|port| Drop { port, ..to(7) });
        pending.add(&found([Drop { port: 443, packets: 9, rule: 1, ..to(7) }]), start, named);
        pending.add(&found(scan), start, named);
        let [due] = pending.due(start, |_, _| true).0.try_into().unwrap();
        assert_eq!((due.sum.packets, due.sum.connections(), due.sum.more), (10_009, TOLD_APART, true));
        let (most, packets) = due.sum.most().unwrap();
        assert_eq!((most.port, packets, most.rule), (443, 10, row().rule), "by the rule that decided last");
        // What is not told apart is named only if there is nothing else.
        let others = Drop { others: true, source: None, port: 0, packets: 90, ..to(7) };
        let mut sum = Sum::default();
        sum.add(&others, 90);
        assert_eq!((sum.most().unwrap().1, sum.more), (90, true));
        sum.add(&to(7), 1);
        assert_eq!(sum.most().unwrap().1, 1);
    }
}
