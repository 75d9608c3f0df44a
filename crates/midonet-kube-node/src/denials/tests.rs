use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datapath::drops::Drop;
use objects::{Key, PodRef};
use policy::{Direction, Origin, RuleName};

use super::denial::Denial;

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// A TCP packet to shop/db.
pub(super) fn row() -> Drop {
    Drop {
        reason: "policy_ingress",
        ingress: true,
        audit: false,
        others: false,
        protocol: 6,
        source: address("10.244.2.7"),
        source_port: 41000,
        destination: address("10.244.1.7"),
        port: 80,
        rule: 7,
        interface: 0,
        claimed: None,
        claimed_mac: None,
        packets: 1,
        bytes: 74,
        first: Duration::from_secs(100),
        last: Duration::from_secs(101),
    }
}

pub(super) fn pod(namespace: &str, name: &str) -> PodRef {
    PodRef { namespace: namespace.into(), name: name.into(), uid: Some(format!("uid-{name}")) }
}

/// Three of them, which the default deny of a NetworkPolicy dropped.
pub(super) fn denial() -> Denial {
    let rule = RuleName {
        origin: Origin::NetworkPolicy,
        direction: Direction::Ingress,
        policies: vec![Key::namespaced("shop", "db")].into(),
        rule: None,
        name: "".into(),
    };
    let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    Denial {
        row: row(),
        packets: 3,
        rule: Some(Arc::new(rule)),
        interface: None,
        source: Some(pod("shop", "web")),
        destination: Some(pod("shop", "db")),
        first,
        last: first + Duration::from_millis(1500),
    }
}
