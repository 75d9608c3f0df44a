use std::collections::BTreeMap;
use std::net::SocketAddr;

use objects::Key;
use proptest::prelude::*;

use super::*;
use crate::flows::example::record;

const SECOND: Duration = Duration::from_secs(1);

/// A flow from a port, seen last then.
fn flow(port: u16, last: Duration) -> Flow {
    let end = |port| SocketAddr::from(([10, 0, 0, 1], port));
    let record = record(end(port), end(80), last);
    Flow {
        record,
        client: None,
        server: None,
        service: None,
        ingress: None,
        egress: None,
        ended: false,
        written: Duration::ZERO,
    }
}

fn ports(page: &Page) -> Vec<u16> {
    page.flows.iter().map(|flow| flow.record.client.port()).collect()
}

#[test]
fn a_page_has_what_changed_since_the_one_before() {
    let mut store = Store::new(10);
    for port in 1..=3 {
        store.put(flow(port, SECOND));
    }
    let first = store.page(0, None, SECOND);
    assert_eq!((ports(&first), first.more), (vec![1, 2, 3], false));
    assert_eq!(ports(&store.page(first.next, None, SECOND)), [0; 0]);
    store.put(flow(2, 2 * SECOND));
    store.put(flow(4, 2 * SECOND));
    let second = store.page(first.next, None, 2 * SECOND);
    assert_eq!(ports(&second), [2, 4]);
    assert_eq!(ports(&store.page(0, None, 2 * SECOND)), [1, 3, 2, 4]);
    assert_eq!(ports(&store.page(0, Some(SECOND / 2), 2 * SECOND)), [2, 4]);
    // The number of another agent, which ran before: everything.
    assert_eq!(ports(&store.page(1000, None, SECOND)), [1, 3, 2, 4]);
    assert_eq!(store.page(u64::MAX, None, SECOND).flows.len(), 0);
}

#[test]
fn there_are_never_more_than_fit_and_the_oldest_goes() {
    let mut store = Store::new(3);
    for port in 1..=5 {
        store.put(flow(port, SECOND));
    }
    assert_eq!((store.len(), store.dropped()), (3, 2));
    // Of the third there is news.
    store.put(flow(3, SECOND));
    store.put(flow(6, SECOND));
    assert_eq!(ports(&store.page(0, None, SECOND)), [5, 3, 6]);
}

#[test]
fn an_hour_after_its_last_packet_a_flow_is_forgotten() {
    let mut store = Store::new(10);
    store.put(flow(1, SECOND));
    store.put(flow(2, 2 * SECOND));
    store.expire(3601 * SECOND);
    assert_eq!(store.len(), 2);
    store.expire(3602 * SECOND);
    assert_eq!(ports(&store.page(0, None, SECOND)), [2]);
    store.expire(Duration::ZERO);
    assert_eq!((store.len(), store.dropped()), (1, 0));
}

#[test]
fn a_large_store_takes_several_pages() {
    let mut store = Store::new(100_000);
    for port in 1..=10_000 {
        store.put(flow(port, SECOND));
    }
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = store.page(after, None, SECOND);
        assert!(page.flows.len() <= PAGE);
        seen.extend(ports(&page));
        after = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (1..=10_000).collect::<Vec<_>>());
}

/// The same, whose Pods are known.
fn named(port: u16, last: Duration) -> Flow {
    let pod = |name| Some(Key::namespaced("default", name));
    Flow { client: pod("client"), server: pod("server"), ..flow(port, last) }
}

#[test]
fn a_record_renews_what_is_known() {
    let mut store = Store::new(10);
    store.put(named(1, SECOND));
    store.put(flow(2, SECOND));
    let page = store.page(0, None, SECOND);
    let record = |port, last| flow(port, last).record;
    assert!(matches!(store.renew(&record(1, SECOND), false), Known::Same(_)));
    assert!(matches!(store.renew(&record(1, SECOND / 2), true), Known::Same(_)), "it is an older one");
    assert!(matches!(store.renew(&record(3, SECOND), false), Known::No));
    assert_eq!(ports(&store.page(page.next, None, SECOND)), [0u16; 0]);
    assert!(matches!(store.renew(&record(1, 2 * SECOND), false), Known::Changed(_)));
    assert!(matches!(store.renew(&record(1, 2 * SECOND), true), Known::Changed(_)), "it has ended");
    assert!(matches!(store.renew(&record(1, 2 * SECOND), false), Known::Same(_)));
    let changed = store.page(page.next, None, SECOND);
    assert_eq!(ports(&changed), [1]);
    assert!(changed.flows[0].ended && changed.flows[0].client.is_some());
    let judged = datapath::records::Direction { rule: 7, audited: false };
    let again = Record { ingress: judged, ..record(1, 3 * SECOND) };
    assert!(matches!(store.renew(&again, false), Known::No), "another rule has another name");
    // Names that are known by now are added, once.
    store.renew(&record(2, 2 * SECOND), true);
    let page = store.page(0, None, SECOND);
    let late = store.name(named(2, SECOND)).unwrap();
    assert!(late.is_named() && late.ended && late.record.last == 2 * SECOND);
    assert_eq!(ports(&store.page(page.next, None, SECOND)), [2]);
    let page = store.page(0, None, SECOND);
    assert!(store.name(named(2, SECOND)).is_some() && store.name(named(9, SECOND)).is_none());
    assert_eq!(ports(&store.page(page.next, None, SECOND)), [0u16; 0]);
    // Names that were known stay.
    let kept = store.put(flow(1, 4 * SECOND)).unwrap();
    assert!(kept.client.is_some() && kept.ended);
}

#[test]
fn what_has_no_record_at_a_look_is_told() {
    let mut store = Store::new(10);
    for port in 1..=3 {
        store.put(named(port, SECOND));
    }
    store.look();
    store.renew(&flow(1, SECOND).record, false);
    store.renew(&flow(2, 2 * SECOND).record, true);
    let gone = |store: &Store, now| {
        let gone = store.without_record(10 * SECOND, now);
        gone.iter().map(|record| record.client.port()).collect::<Vec<_>>()
    };
    assert_eq!(gone(&store, 11 * SECOND), [0u16; 0], "it was heard of not long ago");
    assert_eq!(gone(&store, 12 * SECOND), [3]);
    store.look();
    assert_eq!(gone(&store, 12 * SECOND), [1, 3], "one that has ended is over");
}

proptest! {
    /// Whatever comes, what is listed is what is kept, once each, within the space.
    #[test]
    fn what_is_listed_is_what_is_kept(space in 1usize..8, puts in prop::collection::vec((1u16..12, 0u32..5000), 0..60)) {
        let mut store = Store::new(space);
        let mut known = BTreeMap::new();
        for (port, last) in puts {
            store.put(flow(port, last * SECOND));
            known.insert(port, last * SECOND);
            prop_assert!(store.len() <= space && store.changes.len() <= 2 * store.len() + OUTDATED + 1);
        }
        store.expire(4000 * SECOND);
        let listed = store.page(0, None, Duration::ZERO).flows;
        prop_assert_eq!(listed.len(), store.len());
        for flow in listed {
            prop_assert_eq!(known.remove(&flow.record.client.port()), Some(flow.record.last));
            prop_assert!(flow.record.last >= 400 * SECOND);
        }
    }

    /// Whatever comes, the order of changes is that of a list in which what changes goes to the end.
    #[test]
    fn the_order_is_that_of_the_last_change(
        space in 1usize..8,
        steps in prop::collection::vec((1u16..12, 0u32..100, any::<bool>()), 0..80),
    ) {
        let mut store = Store::new(space);
        let mut naive: Vec<(u16, Duration)> = Vec::new();
        for (port, last, renews) in steps {
            let last = last * SECOND;
            let known = naive.iter().position(|(known, _)| *known == port);
            if renews {
                let is_news = known.is_some_and(|at| naive[at].1 < last);
                let changed = matches!(store.renew(&flow(port, last).record, false), Known::Changed(_));
                prop_assert_eq!(changed, is_news);
                if !is_news {
                    continue;
                }
            } else {
                store.put(named(port, last));
            }
            if let Some(at) = known {
                naive.remove(at);
            } else if naive.len() == space {
                naive.remove(0);
            }
            naive.push((port, last));
        }
        let listed: Vec<_> =
            store.page(0, None, SECOND).flows.iter().map(|flow| (flow.record.client.port(), flow.record.last)).collect();
        prop_assert_eq!(listed, naive);
    }
}
