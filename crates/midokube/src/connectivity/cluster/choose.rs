//! On which nodes Pods are placed. Pure.

use super::super::objects::Placement;

/// A node that has or should have an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connectivity) struct Candidate {
    pub(in crate::connectivity) name: String,
    /// Whether its agent answers and is ready.
    pub(in crate::connectivity) serves: bool,
    /// Whether Kubernetes places Pods there.
    pub(in crate::connectivity) takes_pods: bool,
}

/// The nodes of the Pods, and one more without any, if there is one: the first ones that serve, or those that are named.
///
/// # Errors
/// No node can have Pods, or a named one cannot.
pub(in crate::connectivity) fn choose(
    candidates: &[Candidate],
    named: &[String],
) -> Result<(Placement, Option<String>), String> {
    for name in named {
        let Some(node) = candidates.iter().find(|node| node.name == *name) else {
            return Err(format!("there is no node {name} with an agent"));
        };
        if !node.serves {
            return Err(format!(
                "the agent of node {name} does not answer or is not ready: see `midokube doctor`"
            ));
        }
    }
    let mut serving: Vec<&Candidate> = candidates.iter().filter(|node| node.serves).collect();
    // The order among those that are alike stays.
    serving.sort_by_key(|node| {
        (named.iter().position(|name| *name == node.name).unwrap_or(usize::MAX), !node.takes_pods)
    });
    let mut names = serving.into_iter().map(|node| node.name.clone());
    let home = names.next().ok_or("no agent answers and is ready: see `midokube doctor`")?;
    // Who names one node alone wants to test that one alone.
    let away = if named.len() == 1 { None } else { names.next() };
    Ok((Placement { home, away }, names.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(nodes: &[(&str, bool, bool)], named: &[&str]) -> String {
        let candidate = |(name, serves, takes_pods): &(&str, bool, bool)| Candidate {
            name: (*name).to_owned(),
            serves: *serves,
            takes_pods: *takes_pods,
        };
        let candidates: Vec<Candidate> = nodes.iter().map(candidate).collect();
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        match super::choose(&candidates, &named) {
            Ok((Placement { home, away }, third)) => {
                [Some(home), away, third].map(|node| node.unwrap_or_else(|| "-".to_owned())).join(" ")
            }
            Err(why) => why,
        }
    }

    #[test]
    fn pods_are_where_agents_serve() {
        let all = [("a", true, true), ("b", true, true), ("c", true, true)];
        assert_eq!(choose(&all, &[]), "a b c");
        assert_eq!(choose(&all, &["c", "b"]), "c b a");
        assert_eq!(choose(&all, &["c"]), "c - a");
        assert_eq!(choose(&[("a", false, true), ("b", true, false), ("c", true, true)], &[]), "c b -");
        assert_eq!(choose(&all[..1], &[]), "a - -");
        assert!(choose(&[("a", false, true)], &[]).contains("no agent answers"));
        assert!(choose(&[("a", false, true)], &["a"]).contains("node a does not answer"));
        assert!(choose(&all, &["d"]).contains("no node d"));
    }
}
