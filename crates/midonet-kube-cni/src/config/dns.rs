use ipam::Dns;
use ipam::json::{Invalid, Node};

/// What configuration and runtime say about name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConf {
    /// `dns`: if it says anything, it replaces what IPAM says.
    network: Option<Dns>,
    /// `runtimeConfig.dns`: each list that says anything replaces the network's.
    runtime: Dns,
}

impl DnsConf {
    pub(super) fn read(root: &Node<'_>) -> Result<Self, Invalid> {
        let runtime = root.get("runtimeConfig")?.map(|runtime| runtime.get("dns")).transpose()?.flatten();
        Ok(Self {
            network: root.get("dns")?.map(|node| network(&node)).transpose()?.flatten(),
            runtime: runtime.map_or_else(|| Ok(Dns::default()), |node| capability(&node))?,
        })
    }

    /// The result's, where IPAM says this.
    pub fn over(&self, ipam: Dns) -> Dns {
        let Dns { nameservers, domain, search, options } = self.network.clone().unwrap_or(ipam);
        let either =
            |runtime: &Vec<String>, network| if runtime.is_empty() { network } else { runtime.clone() };
        Dns {
            nameservers: either(&self.runtime.nameservers, nameservers),
            domain,
            search: either(&self.runtime.search, search),
            options: either(&self.runtime.options, options),
        }
    }
}

/// A `dns` that sets nothing is none; an empty list sets something.
fn network(node: &Node<'_>) -> Result<Option<Dns>, Invalid> {
    let mut is_set = node.word("domain")?.is_some();
    for list in ["nameservers", "search", "options"] {
        is_set |= node.get(list)?.is_some();
    }
    Ok(if is_set { Some(Dns::read(node)?) } else { None })
}

/// The capability's names are not those of a result (CONVENTIONS.md, "Well-known Capabilities").
fn capability(node: &Node<'_>) -> Result<Dns, Invalid> {
    Ok(Dns {
        nameservers: node.texts("servers")?,
        domain: String::new(),
        search: node.texts("searches")?,
        options: node.texts("options")?,
    })
}
