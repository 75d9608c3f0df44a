//! What the kernel is asked about this node.

use std::net::IpAddr;

use anyhow::Result;
use model::Local;
use plumbing::probe::{Question, filters_tunnels};

use super::parts::Parts;
use super::state::Settings;
use crate::backend::settings::question;
use crate::backend::underlay::Underlay;

impl Parts {
    /// What to ask the kernel about; `None` while the network is not set up.
    pub(super) fn question(&self, peers: Vec<(String, IpAddr)>) -> Option<Question> {
        let applied = self.applied()?;
        let Settings { cluster_cidrs, service_cidrs, tunnel_port, .. } = &self.settings;
        Some(question(cluster_cidrs, service_cidrs, &applied.local, *tunnel_port, applied.direct, peers))
    }
}

/// Why tunnels' packets must not pass the node's network stack by, if there is a reason.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn needs_the_stack(
    local: &Local,
    underlay: &Underlay,
    tunnel_port: u16,
) -> Result<Option<String>> {
    if plumbing::ipsec::protects_what_leaves()? {
        return Ok(Some("IPsec policies protect what leaves".into()));
    }
    // Others the stack has anyway.
    let Some(address) = local.tunnel_addresses.iter().find(|address| address.is_ipv4()) else {
        return Ok(None);
    };
    for uplink in &underlay.uplinks {
        if let Some(why) = filters_tunnels(*address, tunnel_port, &uplink.ifname)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}
