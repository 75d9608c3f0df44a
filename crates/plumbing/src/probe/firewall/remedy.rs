//! Commands that let a packet pass.

use super::needs::{Accept, FORWARD};
use crate::nft::ruleset::{Base, Ruleset};

impl Accept {
    /// The command of whoever made the table, if that is known, else nft's.
    pub(super) fn remedy(&self, ruleset: &Ruleset, base: &Base, established: bool) -> String {
        let has = |what: &str| {
            ruleset.names.iter().any(|(table, chain)| *table == base.table && chain.starts_with(what))
        };
        let (family, table) = (base.table.0, base.table.1.as_str());
        let chain = &base.chain;
        let is_iptables =
            base.is_legacy() || table == "filter" && matches!(chain.as_str(), "INPUT" | "FORWARD" | "OUTPUT");
        let iptables = match family {
            "ip6" => "ip6tables",
            _ if base.is_legacy() => family,
            _ => "iptables",
        };
        if table == "firewalld" {
            let change = match self {
                Self::From(inside) | Self::To(inside) => format!("--zone=trusted --add-interface={inside}"),
                Self::Port(port) => format!("--add-port={port}/udp"),
            };
            return format!("firewall-cmd --permanent {change} && firewall-cmd --reload");
        }
        if has("ufw") {
            return match (self, base.hook) {
                (Self::From(inside), FORWARD) => format!("ufw route allow in on {inside}"),
                (Self::From(inside), _) => format!("ufw allow in on {inside}"),
                (Self::To(inside), _) => format!("ufw route allow out on {inside}"),
                (Self::Port(port), _) => format!("ufw allow {port}/udp"),
            };
        }
        let chain = if has("DOCKER-USER") && chain == "FORWARD" { "DOCKER-USER" } else { chain };
        if is_iptables {
            return match self {
                Self::From(inside) => format!("{iptables} -I {chain} -i {inside} -j ACCEPT"),
                Self::To(inside) if established => format!(
                    "{iptables} -I {chain} -o {inside} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
                ),
                Self::To(inside) => format!("{iptables} -I {chain} -o {inside} -j ACCEPT"),
                Self::Port(port) => format!("{iptables} -I {chain} -p udp --dport {port} -j ACCEPT"),
            };
        }
        let rule = match self {
            Self::From(inside) => format!("iifname {inside} accept"),
            Self::To(inside) if established => {
                format!("oifname {inside} ct state established,related accept")
            }
            Self::To(inside) => format!("oifname {inside} accept"),
            Self::Port(port) => format!("udp dport {port} accept"),
        };
        format!("nft insert rule {family} {table} {chain} {rule}")
    }
}
