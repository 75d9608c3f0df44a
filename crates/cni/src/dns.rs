use serde::Serialize;

use crate::json::{Element, Invalid};

/// Name resolution, as a result has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// Name servers, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Name resolution in the configuration: the network's, and the runtime's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// `dns`: if it sets anything, it replaces IPAM's.
    network: Option<Dns>,
    /// `runtimeConfig.dns`: each list that is not empty replaces the network's.
    runtime: Dns,
}

impl Dns {
    /// Reads a `dns` object.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(element: &Element<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            nameservers: element.texts("nameservers")?,
            domain: element.word("domain")?.unwrap_or_default().to_owned(),
            search: element.texts("search")?,
            options: element.texts("options")?,
        })
    }
}

impl DnsConfig {
    /// Reads a whole network configuration.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(root: &Element<'_>) -> Result<Self, Invalid> {
        let runtime = root.get("runtimeConfig")?.map(|runtime| runtime.get("dns")).transpose()?.flatten();
        Ok(Self {
            network: root.get("dns")?.map(|element| network(&element)).transpose()?.flatten(),
            runtime: runtime.map_or_else(|| Ok(Dns::default()), |element| capability(&element))?,
        })
    }

    /// The result's name resolution, from IPAM's.
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
fn network(element: &Element<'_>) -> Result<Option<Dns>, Invalid> {
    let mut is_set = element.word("domain")?.is_some();
    for list in ["nameservers", "search", "options"] {
        is_set |= element.get(list)?.is_some();
    }
    Ok(if is_set { Some(Dns::read(element)?) } else { None })
}

/// The capability's names are not those of a result (CONVENTIONS.md, "Well-known Capabilities").
fn capability(element: &Element<'_>) -> Result<Dns, Invalid> {
    Ok(Dns {
        nameservers: element.texts("servers")?,
        domain: String::new(),
        search: element.texts("searches")?,
        options: element.texts("options")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dns(servers: &str, domain: &str, search: &str, options: &str) -> Dns {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Dns {
            nameservers: list(servers),
            domain: domain.into(),
            search: list(search),
            options: list(options),
        }
    }

    #[test]
    fn name_resolution_of_network_runtime_and_ipam() {
        let ipam = || dns("192.0.2.1", "ipam", "ipam.test", "ndots:1");
        for (network, runtime, want) in [
            (json!(null), json!(null), ipam()),
            (json!({}), json!({}), ipam()),
            (json!({"nameservers": null, "domain": ""}), json!(null), ipam()),
            // Anything in the network's replaces all of IPAM's; an empty list is something.
            (json!({"search": []}), json!(null), Dns::default()),
            (json!({"domain": "net"}), json!(null), dns("", "net", "", "")),
            // The runtime's lists count one by one, under names of their own.
            (
                json!(null),
                json!({"servers": ["2001:db8::1"]}),
                dns("2001:db8::1", "ipam", "ipam.test", "ndots:1"),
            ),
            (json!(null), json!({"servers": [], "searches": null, "options": []}), ipam()),
            (
                json!({"nameservers": ["192.0.2.2"], "domain": "net"}),
                json!({"searches": ["a.test", "b.test"], "options": ["ndots:5"]}),
                dns("192.0.2.2", "net", "a.test b.test", "ndots:5"),
            ),
        ] {
            let config = json!({"dns": network, "runtimeConfig": {"dns": runtime}});
            let dns = DnsConfig::read(&Element::root(&config)).unwrap();
            assert_eq!(dns.over(ipam()), want, "{config}");
        }
    }
}
