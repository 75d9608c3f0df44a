use std::net::SocketAddr;

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

proptest! {
    /// Whatever comes, what is listed is what is kept, once each, within the space.
    #[test]
    fn what_is_listed_is_what_is_kept(space in 1usize..8, puts in prop::collection::vec((1u16..12, 0u32..5000), 0..60)) {
        let mut store = Store::new(space);
        let mut known = BTreeMap::new();
        for (port, last) in puts {
            store.put(flow(port, last * SECOND));
            known.insert(port, last * SECOND);
            prop_assert!(store.len() <= space && store.changes.len() == store.len());
        }
        store.expire(4000 * SECOND);
        let listed = store.page(0, None, Duration::ZERO).flows;
        prop_assert_eq!(listed.len(), store.len());
        for flow in listed {
            prop_assert_eq!(known.remove(&flow.record.client.port()), Some(flow.record.last));
            prop_assert!(flow.record.last >= 400 * SECOND);
        }
    }
}
