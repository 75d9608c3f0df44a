//! What the agents say of their nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use serde::Deserialize;

use super::super::scene::Abilities;
use crate::nodes::{Nodes, Question};

/// A node that is not ready is one that answers.
const NOT_READY: u8 = 3;

/// What carries the packets where it is the agents' own network.
const EMBEDDED: &str = "embedded";

/// A part of `midokube status -o json`.
#[derive(Debug, Clone, Deserialize)]
struct Status {
    agent: Agent,
    network: Network,
    policy: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    ready: bool,
    not_ready_reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    kind: String,
    gateways: Vec<IpAddr>,
    node_addresses: Vec<IpAddr>,
    mtu: Option<u32>,
}

/// All agents.
pub(in crate::connectivity) struct Agents(BTreeMap<String, Result<Status, String>>);

/// Asks all agents.
///
/// # Errors
/// The API server does not say which there are.
pub(in crate::connectivity) fn agents(nodes: &Nodes) -> Result<Agents> {
    let words = ["status", "agent", "network", "policy", "--output", "json"].map(str::to_owned).into();
    let answers = nodes.ask(&Question { words, input: None, answers: &[0, NOT_READY] }, |_| true)?;
    let read = |said: &[u8]| {
        let unread = |error| format!("its answer cannot be read, it has another version: {error}");
        serde_json::from_slice::<Status>(said).map_err(unread)
    };
    let all = answers.into_iter().map(|(node, said)| (node, said.and_then(|said| read(&said.stdout))));
    Ok(Agents(all.collect()))
}

impl Agents {
    /// Each node, and why its agent does not answer or serve; `None`: it does.
    pub(in crate::connectivity) fn states(&self) -> Vec<(String, Option<String>)> {
        self.0.iter().map(|(node, status)| (node.clone(), state(status))).collect()
    }

    /// The gateways, the node's own addresses in the Pod network, and the MTU of its Pods.
    pub(in crate::connectivity) fn network(
        &self,
        node: &str,
    ) -> Option<(Vec<IpAddr>, Vec<IpAddr>, Option<u16>)> {
        let network = &self.0.get(node)?.as_ref().ok()?.network;
        let mtu = network.mtu.map(|mtu| u16::try_from(mtu).unwrap_or(u16::MAX));
        Some((network.gateways.clone(), network.node_addresses.clone(), mtu))
    }

    /// What the network of these nodes does.
    pub(in crate::connectivity) fn abilities<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a str>,
    ) -> Abilities {
        let statuses: Vec<&Status> =
            nodes.into_iter().filter_map(|node| self.0.get(node)?.as_ref().ok()).collect();
        Abilities {
            embedded: statuses.iter().all(|status| status.network.kind == EMBEDDED),
            policies: statuses.iter().all(|status| status.policy.is_some()),
        }
    }
}

fn state(status: &Result<Status, String>) -> Option<String> {
    match status {
        Ok(status) if status.agent.ready => None,
        Ok(status) => {
            let why = status.agent.not_ready_reason.as_deref().unwrap_or("it does not say why");
            Some(format!("it is not ready: {why}"))
        }
        Err(why) => Some(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_agents_say_is_read() {
        let status = |ready: bool, kind: &str, policy: serde_json::Value| {
            let status = json!({
                "agent": {"ready": ready, "notReadyReason": if ready { None } else { Some("no podCIDR") }, "node": "a"},
                "network": {"kind": kind, "gateways": ["10.244.1.1", "fd44:0:0:1::1"], "nodeAddresses": ["10.244.1.2"], "mtu": 1450},
                "policy": policy,
            });
            serde_json::from_value::<Status>(status).map_err(|error| error.to_string())
        };
        let all = [
            ("a", status(true, "embedded", json!({"sets": 1}))),
            ("b", status(false, "embedded", json!(null))),
            ("c", Err("it hangs".to_owned())),
            ("d", status(true, "midonet", json!(null))),
        ];
        let agents = Agents(all.into_iter().map(|(name, status)| (name.to_owned(), status)).collect());
        let why: Vec<Option<String>> = agents.states().into_iter().map(|(_, why)| why).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(why, [None, some("it is not ready: no podCIDR"), some("it hangs"), None]);
        let abilities = |nodes: &[&str]| {
            let Abilities { embedded, policies } = agents.abilities(nodes.iter().copied());
            (embedded, policies)
        };
        assert_eq!(abilities(&["a", "c"]), (true, true));
        assert_eq!(abilities(&["a", "b"]), (true, false));
        assert_eq!(abilities(&["a", "d"]), (false, false));
        let (gateways, own, mtu) = agents.network("a").unwrap();
        assert_eq!((gateways.len(), own.len(), mtu), (2, 1, Some(1450)));
        assert!(agents.network("c").is_none());
    }
}
