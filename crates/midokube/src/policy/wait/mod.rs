//! Waiting until every node enforces a policy.

mod args;
mod object;
mod view;
mod what;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use nodeapi::call;
use nodeapi::v1::GetPolicyVersionRequest;
use terminal::output;

use super::target::Target;
use crate::nodes::{Nodes, Question};
pub(super) use args::{HELP, WaitArgs};
use object::read;
use view::{Node, Version};
use what::What;

/// The exit status when time is up.
const LATE: u8 = 1;

/// How often an agent is asked, which answers from memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the nodes that do not have it yet are asked, and the API server.
const ROUND: Duration = Duration::from_secs(1);

/// How long the API server, or an agent's Pod, may take to answer, besides what a node waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node waits for so long by itself before it says that it is not so far: others may have to be asked meanwhile.
const SHARE: Duration = Duration::from_secs(5);

/// Waits, and prints how far every node is.
pub(super) fn run(args: &WaitArgs) -> Result<ExitCode> {
    let until = Instant::now() + args.timeout;
    let view = if args.cluster.this_node { ask_agent(args, until)? } else { ask_nodes(args, until)? };
    output::write(&args.output.text(&view, |view, _| view.text())?)?;
    Ok(if view.is_done() { ExitCode::SUCCESS } else { ExitCode::from(LATE) })
}

/// Waits for the agent of this node.
fn ask_agent(args: &WaitArgs, until: Instant) -> Result<view::View> {
    let target = args.target("default");
    let request = GetPolicyVersionRequest { policy: Some(target.message()) };
    loop {
        let reply = args.agent().ask(&call::GET_POLICY_VERSION, &request, "the policy's version")?;
        let version = reply.version.map(Version::from);
        let reason = Some(reply.reason).filter(|_| !reply.in_force);
        let missing = reason.or_else(|| lacks(version.as_ref(), args.what(), args.at_least.as_ref()));
        let node = Node { node: reply.node, version, missing };
        if node.missing.is_none() || Instant::now() + PAUSE > until {
            return Ok(view::View::new(&target, args.what(), args.at_least.clone(), vec![node]));
        }
        sleep(PAUSE);
    }
}

/// Waits for all nodes.
fn ask_nodes(args: &WaitArgs, until: Instant) -> Result<view::View> {
    let nodes = Nodes::new(&args.cluster.kubernetes, PATIENCE)?;
    let target = args.target(nodes.namespace());
    let read = || nodes.with_client(async |client| read(client, &target).await)?;
    let mut done = Done::default();
    loop {
        let wanted = read()?;
        let view = |found| view::View::new(&target, args.what(), wanted.clone(), found);
        let unfinished = match (args.what(), &wanted) {
            (What::Applied, None) => {
                return Err(anyhow!(
                    "there is no {target}: apply it first, or wait with --for delete until no node has it"
                ));
            }
            (What::Deleted, Some(_)) => view(Vec::new()).unfinished("it still exists: delete it first"),
            _ => {
                done.forget_unless(wanted.as_ref());
                let found = done.ask(&nodes, args, &target, until)?;
                if found.iter().any(|node| node.missing.is_some()) {
                    view(found)
                } else if read()? == wanted {
                    return Ok(view(found));
                } else {
                    view(found).unfinished("it changed while nodes were asked")
                }
            }
        };
        if Instant::now() + ROUND > until {
            return Ok(unfinished);
        }
        sleep(ROUND);
    }
}

/// The nodes that have the version already.
#[derive(Default)]
struct Done {
    version: Option<Version>,
    nodes: Vec<Node>,
}

impl Done {
    /// Of another version nobody is known to have it.
    fn forget_unless(&mut self, wanted: Option<&Version>) {
        if self.version.as_ref() != wanted {
            *self = Self { version: wanted.cloned(), nodes: Vec::new() };
        }
    }

    /// Asks those that do not have it yet. Returns how far all are.
    fn ask(&mut self, nodes: &Nodes, args: &WaitArgs, target: &Target, until: Instant) -> Result<Vec<Node>> {
        let share = until.saturating_duration_since(Instant::now()).min(SHARE);
        let question = question(args, target, self.version.as_ref(), share);
        let known = |name: &str| self.nodes.iter().any(|node| node.node == name);
        let answers = nodes.ask(&question, |node| !known(node))?;
        let asked = answers.into_iter().map(|(name, said)| {
            let view = said.and_then(|said| {
                serde_json::from_slice::<view::View>(&said.stdout).map_err(|error| {
                    format!("its answer cannot be read, its agent has another version: {error}")
                })
            });
            let node =
                view.and_then(|view| view.into_node().ok_or_else(|| "its answer names no node".to_owned()));
            node.unwrap_or_else(|error| Node { node: name, version: None, missing: Some(error) })
        });
        let (done, missing): (Vec<_>, Vec<_>) = asked.partition(|node| node.missing.is_none());
        self.nodes.extend(done);
        let mut all = self.nodes.clone();
        all.extend(missing);
        all.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(all)
    }
}

/// What every node runs: a wait of its own for this version.
fn question(args: &WaitArgs, target: &Target, version: Option<&Version>, share: Duration) -> Question {
    let words = ["policy", "wait", &target.word(), "--this-node", "--output", "json"];
    let mut words: Vec<String> = words.map(str::to_owned).into();
    words.extend(["--for".to_owned(), args.what().word().to_owned()]);
    words.extend(["--timeout".to_owned(), format!("{}ms", share.as_millis().max(100))]);
    words.extend(version.iter().flat_map(|version| ["--at-least".to_owned(), version.word()]));
    Question { words, input: None, answers: &[0, LATE] }
}

/// What a node lacks that has this version in force; `None`: nothing.
fn lacks(version: Option<&Version>, what: What, wanted: Option<&Version>) -> Option<String> {
    match (what, version, wanted) {
        (What::Deleted, None, _) => None,
        (What::Deleted, Some(_), _) => Some("it still has the policy".to_owned()),
        (What::Applied, None, _) => Some("it does not know the policy yet".to_owned()),
        (What::Applied, Some(_), None) => None,
        (What::Applied, Some(version), Some(wanted)) if version.uid != wanted.uid => {
            Some("it has another policy of this name, which was deleted".to_owned())
        }
        (What::Applied, Some(version), Some(wanted)) => {
            (!version.is(wanted)).then(|| format!("it has {version} yet, not {wanted}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_version_or_a_later_one_of_the_same_object() {
        let version = |uid: &str, generation, audit| Version { uid: uid.into(), generation, audit };
        let wanted = version("u", 3, false);
        for (has, enough) in [
            (version("u", 3, false), true),
            (version("u", 4, true), true),
            (version("u", 2, false), false),
            (version("u", 3, true), false),
            (version("v", 9, false), false),
        ] {
            let missing = lacks(Some(&has), What::Applied, Some(&wanted));
            assert_eq!(missing.is_none(), enough, "{has:?}: {missing:?}");
        }
        assert!(lacks(None, What::Applied, Some(&wanted)).is_some());
        assert!(lacks(Some(&wanted), What::Applied, None).is_none(), "any version");
        assert!(lacks(Some(&wanted), What::Deleted, None).is_some());
        assert!(lacks(None, What::Deleted, None).is_none());
    }
}
