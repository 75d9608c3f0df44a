//! What other policies would change for connections that live.

mod args;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::{Context, Result};
use nodeapi::call;
use nodeapi::v1::PreviewPolicyRequest;
use terminal::output;

use super::manifests;
use super::target::Target;
use crate::nodes::{Nodes, Question};
pub(super) use args::{HELP, PreviewArgs};

/// The exit status when a connection would be cut.
const CUT: u8 = 4;

/// That of a node that cannot be asked.
const FAILED: u8 = 1;

/// The namespace of a policy that does not say its own, where no kubeconfig does.
const NAMESPACE: &str = "default";

/// Asks and prints the answers.
pub(super) fn run(args: &PreviewArgs) -> Result<ExitCode> {
    let view = if args.cluster.this_node { ask_agent(args)? } else { ask_nodes(args)? };
    output::write(&args.output.text(&view, text::text)?)?;
    Ok(if view.has_errors() {
        ExitCode::from(FAILED)
    } else if view.cuts() {
        ExitCode::from(CUT)
    } else {
        ExitCode::SUCCESS
    })
}

fn ask_agent(args: &PreviewArgs) -> Result<view::View> {
    let namespace = args.namespace.as_deref().unwrap_or(NAMESPACE);
    let deleted = args.delete.iter().map(|target| target.clone().within(namespace).message());
    let request = PreviewPolicyRequest {
        objects: manifests::policies(&args.filename, namespace)?,
        namespace: namespace.to_owned(),
        deleted: deleted.collect(),
        limit: args.limit,
    };
    let reply = args.node.agent().ask(&call::PREVIEW_POLICY, &request, "what these policies would change")?;
    Ok(reply.into())
}

fn ask_nodes(args: &PreviewArgs) -> Result<view::View> {
    let nodes = Nodes::new(&args.cluster.kubernetes, args.node.timeout)?;
    let namespace = args.namespace.as_deref().unwrap_or(nodes.namespace());
    let policies = manifests::policies(&args.filename, namespace)?;
    let answers = nodes.ask(&question(args, &policies, namespace), |_| true)?;
    let views = answers.into_iter().map(|(node, said)| {
        let read = said.and_then(|said| {
            let read = serde_json::from_slice(&said.stdout).context("its answer cannot be read");
            read.map_err(|error| format!("{error:#}: its agent has another version than this midokube"))
        });
        (node, read)
    });
    Ok(view::View::merge(views))
}

/// What every node runs.
fn question(args: &PreviewArgs, policies: &[String], namespace: &str) -> Question {
    let mut words: Vec<String> =
        ["policy", "preview", "--this-node", "--output", "json"].map(str::to_owned).into();
    words.extend(["--limit".to_owned(), args.limit.to_string()]);
    words.extend(["--timeout".to_owned(), format!("{}ms", args.node.timeout.as_millis())]);
    let deleted = args.delete.iter().map(|target: &Target| target.clone().within(namespace).word());
    words.extend(deleted.flat_map(|word| ["--delete".to_owned(), word]));
    let input = (!policies.is_empty()).then(|| manifests::list(policies).into_bytes());
    if input.is_some() {
        words.extend(["--filename".to_owned(), "-".to_owned()]);
    }
    Question { words, input, answers: &[0, CUT] }
}
