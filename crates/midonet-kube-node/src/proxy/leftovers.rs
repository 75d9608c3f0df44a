//! What kube-proxy makes on a node, by its names (`pkg/proxy/{nftables,iptables,ipvs}` of Kubernetes 1.37): what of it
//! there is. kubelet's own chains, KUBE-FIREWALL, KUBE-IPTABLES-HINT and KUBE-KUBELET-CANARY, are none of these.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use plumbing::nft::{self, Chain, LegacyChain, TableName};

/// The table of its nftables mode, in the families ip and ip6.
const TABLE: &str = "kube-proxy";

/// The tables of iptables in which it has chains.
const IPTABLES: [&str; 3] = ["filter", "mangle", "nat"];

/// The interface of its ipvs mode, which has the addresses of Services.
pub(super) const DUMMY: &str = "kube-ipvs0";

/// Its chains in tables of iptables.
const CHAINS: [&str; 12] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-POSTROUTING",
    "KUBE-MARK-MASQ",
    "KUBE-FORWARD",
    "KUBE-PROXY-FIREWALL",
    "KUBE-PROXY-CANARY",
    // Of ipvs mode.
    "KUBE-SOURCE-RANGES-FIREWALL",
    "KUBE-NODE-PORT",
    "KUBE-LOAD-BALANCER",
    "KUBE-IPVS-FILTER",
];

/// What other chains of it begin with: of a Service port, its local endpoints, its external addresses, an endpoint, and
/// a load balancer's source ranges.
const PREFIXES: [&str; 6] =
    ["KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-SEP-", "KUBE-FW-", "KUBE-IPVS-OUT-FILTER"];

/// The lines of `iptables-save` about kube-proxy's chains and rules that lead there, as a pattern of `grep -E`.
pub(super) fn lines() -> String {
    format!("[: ]({})( |$)|[: ]({})", CHAINS.join("|"), PREFIXES.join("|"))
}

/// Whether a chain in a table of iptables is kube-proxy's.
pub(super) fn is_chain(name: &str) -> bool {
    CHAINS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What there is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leftovers {
    /// Its own tables.
    pub(super) tables: Vec<TableName>,
    /// Tables of iptables with chains of it, as iptables-nft makes them; and how many.
    pub(super) iptables: BTreeMap<TableName, usize>,
    /// The same of iptables-legacy, by program and table.
    pub(super) legacy: BTreeMap<(&'static str, &'static str), usize>,
    /// Whether its interface is there.
    pub(super) dummy: bool,
    /// Whether the kernel has IPVS services while that interface is there, or such chains.
    pub(super) ipvs: bool,
}

impl Leftovers {
    /// Reads everything, in this network namespace.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub(super) fn find() -> Result<Self> {
        let dummy = plumbing::link::find(DUMMY)?.is_some();
        let found = Self::of(nft::tables()?, &nft::chains()?, &nft::legacy_chains()?, dummy);
        // What else has IPVS services, such as keepalived, is not to be taken for kube-proxy.
        Ok(Self { ipvs: dummy && has_ipvs_services(), ..found })
    }

    fn of(tables: Vec<TableName>, chains: &[Chain], legacy: &[LegacyChain], dummy: bool) -> Self {
        let is_ip = |table: &TableName| ["ip", "ip6"].contains(&table.family);
        let mut found = Self { dummy, ..Self::default() };
        found.tables = tables.into_iter().filter(|table| is_ip(table) && table.name == TABLE).collect();
        let of_iptables = |chain: &&Chain| {
            let table = &chain.table;
            is_ip(table) && IPTABLES.contains(&table.name.as_str()) && is_chain(&chain.name)
        };
        for chain in chains.iter().filter(of_iptables) {
            *found.iptables.entry(chain.table.clone()).or_default() += 1;
        }
        for chain in legacy.iter().filter(|chain| is_chain(&chain.name)) {
            *found.legacy.entry((chain.program, chain.table)).or_default() += 1;
        }
        found
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What there is, in words.
    pub(super) fn names(&self) -> Vec<String> {
        let tables =
            self.tables.iter().map(|table| format!("nftables table {} {}", table.family, table.name));
        let iptables = self.iptables.iter().map(|(table, chains)| in_iptables(table, *chains));
        let legacy = self
            .legacy
            .iter()
            .map(|((program, table), chains)| format!("{} of {program}, table {table}", counted(*chains)));
        let dummy = self.dummy.then(|| format!("interface {DUMMY}"));
        let ipvs = self.ipvs.then(|| "IPVS services".to_owned());
        tables.chain(iptables).chain(legacy).chain(dummy).chain(ipvs).collect()
    }
}

/// Chains in a table of iptables-nft, in words.
pub(super) fn in_iptables(table: &TableName, chains: usize) -> String {
    let program = if table.family == "ip" { "iptables" } else { "ip6tables" };
    format!("{} of {program}, table {}", counted(chains), table.name)
}

fn counted(chains: usize) -> String {
    if chains == 1 { "1 chain".to_owned() } else { format!("{chains} chains") }
}

/// Whether there are IPVS services: the table has three lines of headings.
fn has_ipvs_services() -> bool {
    fs::read_to_string("/proc/thread-self/net/ip_vs").is_ok_and(|table| table.lines().nth(3).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(family: &'static str, name: &str) -> TableName {
        TableName { family, name: name.into() }
    }

    fn chain(family: &'static str, in_table: &str, name: &str) -> Chain {
        Chain { table: table(family, in_table), name: name.into(), is_base: false }
    }

    #[test]
    fn only_kube_proxys_chains_are_its_own() {
        for name in [
            "KUBE-SERVICES",
            "KUBE-NODEPORTS",
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-FORWARD",
            "KUBE-POSTROUTING",
            "KUBE-PROXY-FIREWALL",
            "KUBE-PROXY-CANARY",
            "KUBE-MARK-MASQ",
            "KUBE-SVC-ERIFXISQEP7F7OF4",
            "KUBE-SEP-ABCDEFGHIJKLMNOP",
            "KUBE-EXT-X",
            "KUBE-FW-X",
            "KUBE-SVL-X",
            "KUBE-IPVS-OUT-FILTER",
        ] {
            assert!(is_chain(name), "{name}");
        }
        for name in [
            "KUBE-KUBELET-CANARY",
            "KUBE-FIREWALL",
            "KUBE-IPTABLES-HINT",
            "KUBE-MARK-DROP",
            "KUBE-ROUTER-INPUT",
            "KUBE-POD-FW-X",
            "KUBE-SVC",
            "MY-KUBE-SVC-X",
            "KUBE-SERVICES-2",
            "CNI-HOSTPORT-DNAT",
            "INPUT",
        ] {
            assert!(!is_chain(name), "{name}");
        }
    }

    #[test]
    fn what_is_left_is_told_by_name() {
        let tables = vec![
            table("ip", "kube-proxy"),
            table("ip6", "kube-proxy"),
            table("inet", "kube-proxy"),
            table("ip", "nat"),
        ];
        let chains = [
            chain("ip", "nat", "KUBE-SERVICES"),
            chain("ip", "nat", "KUBE-SVC-X"),
            chain("ip6", "filter", "KUBE-FORWARD"),
            chain("ip6", "filter", "KUBE-FIREWALL"),
            chain("ip", "own", "KUBE-SERVICES"),
            chain("inet", "filter", "KUBE-SERVICES"),
        ];
        let legacy = |name: &str| LegacyChain { program: "iptables-legacy", table: "nat", name: name.into() };
        let legacy = [legacy("KUBE-SERVICES"), legacy("KUBE-FIREWALL"), legacy("KUBE-SEP-X")];
        let found = Leftovers::of(tables, &chains, &legacy, true);
        assert_eq!(
            found.names(),
            [
                "nftables table ip kube-proxy",
                "nftables table ip6 kube-proxy",
                "2 chains of iptables, table nat",
                "1 chain of ip6tables, table filter",
                "2 chains of iptables-legacy, table nat",
                "interface kube-ipvs0",
            ]
        );
        assert!(Leftovers::of(vec![table("ip", "nat")], &chains[4..], &legacy[1..2], false).is_empty());
    }
}
