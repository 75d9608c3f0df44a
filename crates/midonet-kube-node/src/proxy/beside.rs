//! Whether kube-proxy runs beside this agent, or left something: its rules come before the datapath for what the node's
//! own processes send, and lead where Services' endpoints were when it ended.

use anyhow::Result;
use model::Problem;
use plumbing::nft;

use super::leftovers::Leftovers;
use super::processes;

/// The name of its process.
pub(super) const PROCESS: &str = "kube-proxy";

/// How it is removed from all nodes where kubeadm or a hand installed it.
pub(super) const REMOVE: &str = "kubectl -n kube-system delete daemonset kube-proxy";

/// How what it left is removed from a node.
const CLEAN: &str = "midonet-kube-node cleanup-kube-proxy";

/// Looks for it again and again. Rules are read again only when they changed.
#[derive(Debug, Default)]
pub struct Beside {
    last: Option<(Option<u32>, Leftovers)>,
}

impl Beside {
    /// What there is of kube-proxy on this node and in this network namespace.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn look(&mut self) -> Result<Vec<Problem>> {
        let generation = nft::generation()?;
        let (first, known) = match self.last.take() {
            // These come without events: interfaces, and rules of iptables-legacy.
            Some((last, known)) if last == generation && known.is_empty() && !may_have_more() => {
                (false, known)
            }
            last => (last.is_none(), Leftovers::find()?),
        };
        // Without any rule it does nothing; and to look through all processes takes long.
        let has_rules = !known.is_empty();
        let runs = (first || has_rules)
            && processes::named(PROCESS).iter().any(|process| process.certain || has_rules);
        let problems = problems(runs, &known);
        self.last = Some((generation, known));
        Ok(problems)
    }
}

/// Whether there may be something that changes no generation of nftables.
fn may_have_more() -> bool {
    let legacy = ["ip_tables_names", "ip6_tables_names"];
    legacy.iter().any(|names| {
        std::fs::read(format!("/proc/thread-self/net/{names}")).is_ok_and(|names| !names.is_empty())
    }) || plumbing::link::find(super::leftovers::DUMMY).is_ok_and(|link| link.is_some())
}

fn problems(runs: bool, leftovers: &Leftovers) -> Vec<Problem> {
    let stay = "or have the agent leave Services to it with --services off";
    if runs {
        let problem = "it runs beside this agent, which serves Services itself: its rules come first for what the \
                       node's own processes send, and it takes ports that this agent serves";
        let remedy = format!(
            "remove it (`{REMOVE}`; k3s: --disable-kube-proxy) and run `{CLEAN}` on each node, {stay}"
        );
        return vec![Problem::new("kube_proxy", "kube-proxy", problem, remedy)];
    }
    if leftovers.is_empty() {
        return Vec::new();
    }
    let left = leftovers.names().join(", ");
    let problem = format!(
        "it is there, or it left {left}: what the node's own processes send to Services goes where these rules lead, \
         though the endpoints may be gone"
    );
    let remedy = format!("if it still runs, remove it (`{REMOVE}`); then run `{CLEAN}` on this node; {stay}");
    vec![Problem::new("kube_proxy", "kube-proxy", problem, remedy)]
}

#[cfg(test)]
mod tests {
    use testkit::Namespace;

    use super::*;

    fn look(node: &Namespace, beside: &mut Beside) -> Vec<Problem> {
        node.run(|| beside.look()).unwrap()
    }

    #[test]
    fn what_it_left_is_found_and_is_over_once_it_is_gone() {
        testkit::require_tool("nft", "apt-get install nftables");
        let node = Namespace::new();
        let mut beside = Beside::default();
        assert_eq!(look(&node, &mut beside), []);
        for (make, name, mend) in [
            ("nft add table ip kube-proxy", "nftables table ip kube-proxy", "nft delete table ip kube-proxy"),
            (
                "ip6tables-nft -t nat -N KUBE-SERVICES",
                "1 chain of ip6tables, table nat",
                "ip6tables-nft -t nat -X KUBE-SERVICES",
            ),
            (
                "iptables-legacy -t nat -N KUBE-SVC-X; iptables-legacy -t nat -N KUBE-FIREWALL",
                "1 chain of iptables-legacy, table nat",
                "iptables-legacy -t nat -X KUBE-SVC-X",
            ),
            ("ip link add kube-ipvs0 type veth", "interface kube-ipvs0", "ip link del kube-ipvs0"),
        ] {
            node.sh(make);
            let found = look(&node, &mut beside);
            assert_eq!(found.len(), 1, "{make}: {found:?}");
            assert!(found[0].problem.contains(&format!("left {name}:")), "{make}: {found:?}");
            assert!(found[0].remedy.contains("midonet-kube-node cleanup-kube-proxy"), "{found:?}");
            assert_eq!(look(&node, &mut beside), found, "{make}, again");
            node.sh(mend);
            assert_eq!(look(&node, &mut beside), [], "{mend}");
        }
    }

    #[test]
    fn one_that_runs_is_told_instead_of_its_rules() {
        let leftovers = Leftovers { dummy: true, ..Leftovers::default() };
        let told = problems(true, &leftovers);
        assert_eq!(told.len(), 1);
        assert!(told[0].problem.contains("runs beside") && told[0].remedy.contains(REMOVE), "{told:?}");
        assert_eq!(problems(false, &Leftovers::default()), []);
    }
}
