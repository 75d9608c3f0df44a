//! `midokube sysdump`: one archive of all that a maintainer needs.

mod archive;
mod args;
mod node;
mod part;
mod redact;
mod target;
mod write;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use terminal::output;
use terminal::units::bytes;

pub(crate) use args::{HELP, SysdumpArgs};
use part::{LARGEST, Parts};
use target::Target;
use write::Writer;

use crate::agent::Agent;
use crate::doctor::{self, Examination};
use crate::nodes::{Nodes, Question};

/// The exit status when something is missing.
const INCOMPLETE: u8 = 4;

/// So many files of this size a node has at most.
const FILES: u64 = 11;

/// Into so many pieces the time of a node is cut: each of its agent's answers has one.
const PIECES: u32 = 8;

/// So many nodes' files are held at a time.
const AT_ONCE: usize = 8;

/// Collects and writes.
pub(crate) fn run(args: &SysdumpArgs) -> Result<ExitCode> {
    if args.parts {
        let agent = args.sockets.agents().into_iter().next().ok_or_else(|| anyhow!("no socket is given"))?;
        output::write(&(serde_json::to_string(&node::parts(&agent))? + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let path = args.file.clone().unwrap_or_else(|| PathBuf::from(format!("midokube-sysdump-{time}.tar.gz")));
    // Before nodes are asked for what cannot be kept.
    let target = Target::open(&path, args.force)?;
    let most = args.max_size << 20;
    let writer = Writer::new(target, time, most);
    let announce = |nodes: usize| {
        let at_most = most.min((nodes as u64).saturating_mul(FILES).saturating_mul(LARGEST as u64));
        say(&format!("{nodes} nodes: at most {} before compression, to {}", bytes(at_most), name(&path)));
    };
    let writer = if args.cluster.this_node {
        of_agents(args, writer, announce)
    } else {
        of_nodes(args, writer, announce)
    };
    let (target, written, missing) = writer?.finish()?;
    match target.keep()? {
        Some((path, size)) => {
            say(&format!("{}: {}, {} before compression", path.display(), bytes(size), bytes(written)));
        }
        None => say(&format!("{} before compression", bytes(written))),
    }
    for missing in &missing {
        say(&format!("missing: {}: {}", missing.name, missing.why));
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// Of agents at sockets.
fn of_agents(
    args: &SysdumpArgs,
    mut writer: Writer<Target>,
    announce: impl Fn(usize),
) -> Result<Writer<Target>> {
    let agents = args.sockets.agents();
    announce(agents.len());
    let examination = doctor::examine_agents(&agents);
    add_examination(&mut writer, &examination)?;
    let names: Vec<String> = examination.nodes().map(str::to_owned).collect();
    let pairs: Vec<(&String, &Agent)> = names.iter().zip(&agents).collect();
    for pairs in pairs.chunks(AT_ONCE) {
        let collected: Vec<Parts> = thread::scope(|scope| {
            let asked: Vec<_> = pairs.iter().map(|(_, agent)| scope.spawn(|| node::parts(agent))).collect();
            asked.into_iter().map(|one| one.join().unwrap_or_default()).collect()
        });
        for ((name, _), parts) in pairs.iter().zip(collected) {
            writer.add(Some(name), parts)?;
        }
    }
    Ok(writer)
}

/// Of all nodes of a cluster.
fn of_nodes(
    args: &SysdumpArgs,
    mut writer: Writer<Target>,
    announce: impl Fn(usize),
) -> Result<Writer<Target>> {
    let nodes = Nodes::new(&args.cluster.kubernetes, args.sockets.timeout)?;
    let names = nodes.names()?;
    announce(names.len());
    let examination = doctor::examine_nodes(&nodes, args.sockets.timeout)?;
    add_examination(&mut writer, &examination)?;
    let words = ["sysdump", "--this-node", "--parts", "--timeout"].map(str::to_owned).into_iter();
    let words = words.chain([format!("{}ms", (args.sockets.timeout / PIECES).as_millis())]).collect();
    let question = Question { words, input: None, answers: &[0] };
    for names in names.chunks(AT_ONCE) {
        let is_wanted = |name: &str| names.iter().any(|one| one == name);
        let mut logs = nodes.logs(LARGEST, is_wanted)?;
        for (node, said) in nodes.ask(&question, is_wanted)? {
            let read = said
                .map_err(|why| anyhow!(why))
                .and_then(|said| serde_json::from_slice(&said.stdout).context("its answer cannot be read"));
            let mut parts: Parts = read.unwrap_or_else(|error| {
                let mut parts = Parts::default();
                parts.add("everything of it", Err(error));
                parts
            });
            let log = logs.remove(&node).unwrap_or_else(|| Err("its agent has no Pod".to_owned()));
            parts.add("log.txt", log.map_err(|why| anyhow!(why)));
            writer.add(Some(&node), parts)?;
        }
    }
    Ok(writer)
}

/// What doctor says of all nodes, and what each of them told it.
fn add_examination(writer: &mut Writer<Target>, examination: &Examination) -> Result<()> {
    let mut parts = Parts::default();
    parts.add("doctor.json", examination.document());
    parts.add("doctor.txt", Ok(examination.text()));
    writer.add(None, parts)?;
    for (node, facts) in examination.facts() {
        let mut parts = Parts::default();
        parts.add("facts.json", facts);
        writer.add(Some(node), parts)?;
    }
    Ok(())
}

fn say(what: &str) {
    output::complain("midokube", what);
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard output".to_owned() } else { path.display().to_string() }
}
