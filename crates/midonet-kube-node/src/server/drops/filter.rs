//! Which rows a caller asked for.

use std::net::IpAddr;
use std::time::Duration;

use datapath::Fate;
use datapath::drops::Drop;
use nodeapi::v1;
use objects::{Key, did_you_mean};
use tonic::Status;

use super::row::Row;
use crate::protocols::PROTOCOLS;

/// How many rows an answer has if the caller does not say, and at most: so that it takes a few MiB.
const LIMIT: u32 = 1000;
pub(super) const LARGEST_LIMIT: u32 = 16_384;

/// What rows have to match.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Of either end.
    pod: Option<Key>,
    /// Of the Pod of either end.
    namespace: Option<String>,
    /// Of either end, or claimed.
    address: Option<IpAddr>,
    protocol: Option<u8>,
    /// The destination's.
    port: Option<u16>,
    reason: Option<&'static str>,
    /// How long ago the last packet may have come.
    since: Option<Duration>,
}

impl Filter {
    /// The filter of a request, and how many rows to return.
    ///
    /// # Errors
    /// The request cannot match anything.
    pub(super) fn read(request: &v1::ListDropsRequest) -> Result<(Self, usize), Status> {
        let v1::ListDropsRequest { pod, namespace, address, protocol, port, reason, since_seconds, limit } =
            request;
        let invalid = |what: &str, value: &dyn std::fmt::Debug, want: &str| {
            Status::invalid_argument(format!("{what}: {value:?} is no {want}"))
        };
        let mut filter = Self {
            pod: pod.as_ref().map(|pod| Key::namespaced(&pod.namespace, &pod.name)),
            namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
            since: Some(Duration::from_secs(*since_seconds)).filter(|since| !since.is_zero()),
            ..Self::default()
        };
        if !address.is_empty() {
            let parsed = address.parse::<IpAddr>().map_err(|_| invalid("address", address, "IP address"))?;
            filter.address = Some(parsed.to_canonical());
        }
        if !protocol.is_empty() {
            let known = PROTOCOLS.iter().find(|(_, name)| name == protocol);
            filter.protocol = Some(known.ok_or_else(|| invalid("protocol", protocol, "known protocol"))?.0);
        }
        if *port != 0 {
            filter.port = Some((*port).try_into().map_err(|_| invalid("port", port, "port"))?);
        }
        if !reason.is_empty() {
            let all = || datapath::reasons().iter().filter(|known| known.fate == Fate::Drop);
            let unknown = || {
                let near = did_you_mean(reason, all().map(|known| known.name));
                invalid("reason", reason, &format!("reason for drops{near}"))
            };
            filter.reason = Some(all().find(|known| known.name == reason).ok_or_else(unknown)?.name);
        }
        let limit = match *limit {
            0 => LIMIT,
            limit @ 1..=LARGEST_LIMIT => limit,
            limit => return Err(invalid("limit", &limit, &format!("number up to {LARGEST_LIMIT}"))),
        };
        Ok((filter, usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// Whether a row matches, but for its Pods. `now` is the time since boot.
    pub(super) fn matches(&self, drop: &Drop, now: Duration) -> bool {
        let Self { address, protocol, port, reason, since, .. } = self;
        address.is_none_or(|address| [drop.source, drop.destination, drop.claimed].contains(&Some(address)))
            && protocol.is_none_or(|protocol| protocol == drop.protocol)
            && port.is_none_or(|port| port == drop.port)
            && reason.is_none_or(|reason| reason == drop.reason)
            && since.is_none_or(|since| now.saturating_sub(drop.last) <= since)
    }

    /// Whether Pods count at all.
    pub(super) fn is_of_pods(&self) -> bool {
        self.pod.is_some() || self.namespace.is_some()
    }

    /// Whether the Pods of a row match.
    pub(super) fn matches_pods(&self, row: &Row) -> bool {
        let is_in = |namespace: &str| row.pods().any(|pod| pod.namespace() == Some(namespace));
        self.pod.as_ref().is_none_or(|wanted| row.pods().any(|pod| pod == wanted))
            && self.namespace.as_deref().is_none_or(is_in)
    }

    /// The Pod that is asked for, if it is not known.
    pub(super) fn unknown_pod(&self, is_known: impl Fn(&Key) -> bool) -> Option<&Key> {
        self.pod.as_ref().filter(|pod| !is_known(pod))
    }
}
