//! What is wrong, as programs get it: see docs/reference.md.

use serde::Serialize;

use super::cluster::{Cluster, Node};
use super::finding::Finding;
use crate::API_VERSION;

/// All findings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    api_version: &'static str,
    kind: &'static str,
    pub(super) nodes: Vec<Asked>,
    /// The worst first.
    pub(super) findings: Vec<Finding>,
}

/// A node that was asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    pub(super) node: String,
    /// Why it says nothing; `None`: it does.
    pub(super) error: Option<String>,
    /// `None`: it is not known, as the others are.
    pub(super) version: Option<String>,
    pub(super) ready: Option<bool>,
    pub(super) mtu: Option<u32>,
    /// How many other nodes it knows, and to how many the path was probed.
    pub(super) peers: Option<usize>,
    pub(super) probed: Option<usize>,
}

impl View {
    pub(super) fn new(cluster: &Cluster, findings: Vec<Finding>) -> Self {
        let nodes = cluster.nodes.iter().map(Asked::from).collect();
        Self { api_version: API_VERSION, kind: "Doctor", nodes, findings }
    }

    /// Whether any node said something.
    pub(super) fn is_known(&self) -> bool {
        self.nodes.iter().any(|node| node.error.is_none())
    }
}

impl From<&Node> for Asked {
    fn from(node: &Node) -> Self {
        let facts = node.said.as_ref().ok();
        let silence = node.said.as_ref().err();
        let version = facts.map(|facts| facts.version.clone());
        Self {
            node: node.name.clone(),
            error: silence.map(|silence| silence.why.clone()),
            version: version.or_else(|| silence?.version.clone()),
            ready: facts.map(|facts| facts.ready),
            mtu: facts.and_then(|facts| facts.mtu),
            peers: facts.map(|facts| facts.peers.len()),
            probed: facts.map(|facts| {
                let nodes: std::collections::BTreeSet<&str> =
                    facts.paths.iter().map(|path| path.node.as_str()).collect();
                nodes.len()
            }),
        }
    }
}
