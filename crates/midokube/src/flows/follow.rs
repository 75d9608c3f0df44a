//! `--follow`: flows as they begin and end.

use std::collections::HashMap;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use terminal::{Format, output};

use super::args::FlowsArgs;
use super::ask::Source;
use super::text;
use super::view::{DENIED, Flow, View};

/// How often agents at sockets are asked, which answer from memory, and all nodes, which run a program each.
const PERIOD: Duration = Duration::from_secs(1);
const PERIOD_OF_NODES: Duration = Duration::from_secs(3);

/// What is asked for again and again: flows with a packet in so much time. What was shown is not shown again.
const OVERLAP: Duration = Duration::from_secs(20);

/// How many flows are known to have been shown; when there are more, those that are not asked about any more are forgotten.
const KNOWN: usize = 200_000;

/// What was shown of flows.
#[derive(Debug, Default)]
pub(super) struct Shown(HashMap<(Vec<String>, String), (String, bool, u64)>);

impl Shown {
    /// Those of which there is something to show: they began, ended, are further, or more was denied; the oldest first.
    pub(super) fn news(&mut self, view: View) -> Vec<Flow> {
        let mut present = HashMap::with_capacity(view.flows.len());
        let mut news = Vec::new();
        for flow in view.flows.into_iter().rev() {
            let key = (flow.nodes.clone(), flow.id.clone());
            let packets = if flow.state == DENIED { flow.client_packets } else { 0 };
            let now = (flow.state.clone(), flow.ended, packets);
            if self.0.get(&key) != Some(&now) {
                news.push(flow);
            }
            present.insert(key, now);
        }
        if self.0.len() + present.len() > KNOWN {
            self.0.clear();
        }
        self.0.extend(present);
        news
    }
}

/// Shows them until nobody reads any more, or a signal ends the program. A node that does not answer is told once, and
/// asked again.
pub(super) fn follow(args: &FlowsArgs, source: &mut Source<'_>) -> Result<ExitCode> {
    let period = if matches!(source, Source::Agents(_)) { PERIOD } else { PERIOD_OF_NODES };
    let wide = args.output == Format::Wide;
    let is_text = matches!(args.output, Format::Table | Format::Wide);
    let (mut shown, filter) = (Shown::default(), args.filter());
    let (mut told, mut since) = (Vec::<String>::new(), args.since.or(Some(OVERLAP)));
    if is_text && !output::write(&(text::header(wide) + "\n"))? {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        match source.ask(since) {
            Ok(mut view) => {
                let error =
                    |node: &super::view::Node| Some(format!("node {}: {}", node.node, node.error.as_ref()?));
                let errors: Vec<String> = view.nodes.iter().filter_map(error).collect();
                for error in errors.iter().filter(|error| !told.contains(error)) {
                    output::complain("midokube", error);
                }
                told = errors;
                view.flows.retain(|flow| filter.matches(flow));
                let news = shown.news(view);
                if !news.is_empty() && !output::write(&rows(args.output, &news, wide)?)? {
                    return Ok(ExitCode::SUCCESS);
                }
                since = Some(OVERLAP);
            }
            Err(error) => {
                let error = output::explain(&error);
                if !told.contains(&error) {
                    output::complain("midokube", &error);
                }
                told = vec![error];
            }
        }
        sleep(period);
    }
}

/// Rows for people; for programs one document each, of JSON on a line of its own.
fn rows(format: Format, flows: &[Flow], wide: bool) -> Result<String> {
    let mut all = String::new();
    match format {
        Format::Table | Format::Wide => all = text::lines(flows, wide) + "\n",
        Format::Json => {
            for flow in flows {
                all += &serde_json::to_string(flow)?;
                all.push('\n');
            }
        }
        Format::Yaml => {
            for flow in flows {
                all += &format!("---\n{}", serde_yaml_ng::to_string(flow)?);
            }
        }
    }
    Ok(all)
}
