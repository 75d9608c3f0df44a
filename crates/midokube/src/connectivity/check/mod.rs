//! One question with its expected outcome: who asks, what, and what has to come of it. Judging is pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::question::{Outcome, What};
use super::scene::{End, Family};

/// When a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Before there are policies.
    Before,
    /// While policies are in force, and after endpoints were replaced.
    During,
    /// After the policies were removed.
    After,
}

/// What has to come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// One of these answers each try, and sees the client by this address, if it is named.
    By { names: Vec<String>, client: Option<IpAddr> },
    /// All of these answer, and nobody else.
    Each { names: Vec<String> },
    /// One of these answers, always the same.
    Same { names: Vec<String> },
    /// The other end answers in any way: a host that refuses is there.
    Reached,
    /// The other end accepts the connection, or answers the ping.
    Accepted,
    /// It is refused at once.
    Refused,
    /// Nobody answers.
    Silence,
    /// The name has these addresses.
    Addresses { addresses: Vec<IpAddr> },
}

/// A question with its expected outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) stage: Stage,
    pub(super) from: End,
    pub(super) what: What,
    /// What opened the connection: the question itself, unless it uses one.
    pub(super) opened: What,
    /// To whom, for people.
    pub(super) to: String,
    /// The nodes of the other end, as far as they are known.
    pub(super) to_nodes: Vec<String>,
    pub(super) expect: Expect,
}

impl Check {
    /// How long a try may take.
    pub(super) fn patience(&self) -> Duration {
        match (&self.expect, &self.what) {
            (Expect::Silence, _) => SILENCE,
            (_, What::Tcp { bytes, .. }) if *bytes > 0 => MUCH,
            _ => ANSWER,
        }
    }

    /// The family of the packets.
    pub(super) fn family(&self) -> Family {
        self.opened.destination().map_or(Family::Ipv4, Family::of)
    }

    /// The nodes that have to do with it, as far as they are known.
    pub(super) fn nodes(&self) -> Vec<&str> {
        let mut nodes = vec![self.from.node.as_str()];
        nodes.extend(self.to_nodes.iter().map(String::as_str).filter(|node| *node != self.from.node));
        nodes
    }
}

/// How long a try may take of which an answer is expected: three SYNs are sent.
const ANSWER: Duration = Duration::from_secs(4);

/// How long one may take that carries much.
const MUCH: Duration = Duration::from_secs(20);

/// How long nobody may answer, for silence.
const SILENCE: Duration = Duration::from_millis(1500);

/// For people: what was expected.
impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: &[String]| names.join(" or ");
        match self {
            Self::By { names, client: None } => write!(f, "an answer of {}", list(names)),
            Self::By { names, client: Some(client) } => {
                write!(f, "an answer of {}, which sees the client as {client}", list(names))
            }
            Self::Each { names } => write!(f, "answers of each of {}", names.join(", ")),
            Self::Same { names } => write!(f, "all answers of the same of {}", names.join(", ")),
            Self::Reached | Self::Accepted => f.write_str("an answer"),
            Self::Refused => f.write_str("a refusal at once"),
            Self::Silence => f.write_str("no answer"),
            Self::Addresses { addresses } => write!(f, "{}", words(addresses)),
        }
    }
}

/// What is wrong with what came of the tries; `None`: nothing.
pub(super) fn fault(expect: &Expect, outcomes: &[Outcome]) -> Option<String> {
    let answers = || -> Result<Vec<(&str, IpAddr)>, String> { outcomes.iter().map(answer).collect() };
    let found = match expect {
        Expect::By { names, client } => answers().and_then(|answers| by(&answers, names, *client)),
        Expect::Each { names } => answers().and_then(|answers| each(&answers, names)),
        Expect::Same { names } => answers().and_then(|answers| same(&answers, names)),
        Expect::Addresses { addresses } => resolved(outcomes, addresses),
        Expect::Reached => match outcomes {
            [Outcome::Reached | Outcome::Refused] => Ok(()),
            others => Err(observed(others)),
        },
        Expect::Accepted => match outcomes {
            [Outcome::Reached] => Ok(()),
            others => Err(observed(others)),
        },
        Expect::Refused => match outcomes {
            [Outcome::Refused] => Ok(()),
            others => Err(observed(others)),
        },
        Expect::Silence => match outcomes {
            [Outcome::Silent { .. }] => Ok(()),
            others => Err(observed(others)),
        },
    };
    // Nothing was tried, for whatever reason.
    let found = if outcomes.is_empty() { Err("it was not tried".to_owned()) } else { found };
    found.err()
}

fn answer(outcome: &Outcome) -> Result<(&str, IpAddr), String> {
    match outcome {
        Outcome::Answered { by, client } => Ok((by, client.ip())),
        other => Err(told(other)),
    }
}

fn by(answers: &[(&str, IpAddr)], names: &[String], client: Option<IpAddr>) -> Result<(), String> {
    for (by, seen) in answers {
        if !names.iter().any(|name| name == by) {
            return Err(format!("{by} answers"));
        }
        if let Some(client) = client.filter(|client| client != seen) {
            return Err(format!("{by} sees the client as {seen} instead of {client}"));
        }
    }
    Ok(())
}

fn each(answers: &[(&str, IpAddr)], names: &[String]) -> Result<(), String> {
    by(answers, names, None)?;
    let seen: BTreeSet<&str> = answers.iter().map(|(by, _)| *by).collect();
    let silent: Vec<&str> = names.iter().map(String::as_str).filter(|name| !seen.contains(name)).collect();
    if silent.is_empty() {
        return Ok(());
    }
    Err(format!("of {} connections none came to {}", answers.len(), silent.join(", ")))
}

fn same(answers: &[(&str, IpAddr)], names: &[String]) -> Result<(), String> {
    by(answers, names, None)?;
    let seen: BTreeSet<&str> = answers.iter().map(|(by, _)| *by).collect();
    if seen.len() <= 1 {
        return Ok(());
    }
    let seen: Vec<&str> = seen.into_iter().collect();
    Err(format!("{} answer in turn", seen.join(" and ")))
}

fn resolved(outcomes: &[Outcome], wanted: &[IpAddr]) -> Result<(), String> {
    let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
    match outcomes {
        [Outcome::Resolved { addresses }] if addresses.iter().copied().collect::<BTreeSet<_>>() == wanted => {
            Ok(())
        }
        others => Err(observed(others)),
    }
}

/// What came, for people.
fn observed(outcomes: &[Outcome]) -> String {
    outcomes.last().map(told).unwrap_or_default()
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered { by, client } => format!("{by} answers, and sees the client as {}", client.ip()),
        Outcome::Reached => "it answers".to_owned(),
        Outcome::Refused => "refused".to_owned(),
        Outcome::Unreachable { why } => format!("unreachable: {why}"),
        Outcome::Reset => "the connection was reset".to_owned(),
        Outcome::Silent { connected: true } => {
            "the connection is established, but nothing comes of it".to_owned()
        }
        Outcome::Silent { connected: false } => "no answer".to_owned(),
        Outcome::TooBig { mtu: Some(mtu) } => format!("the path takes packets of {mtu} bytes at most"),
        Outcome::TooBig { mtu: None } => "the path does not take packets of this size".to_owned(),
        Outcome::Damaged { why } | Outcome::NoName { why } => why.clone(),
        Outcome::Resolved { addresses } if addresses.is_empty() => "the name has no address".to_owned(),
        Outcome::Resolved { addresses } => words(addresses),
        Outcome::Resolver { .. } => "another kind of answer".to_owned(),
        Outcome::Failed { why } => format!("it could not be tried: {why}"),
    }
}

fn words(addresses: &[IpAddr]) -> String {
    let mut text = "the addresses ".to_owned();
    for (index, address) in addresses.iter().enumerate() {
        let _ = write!(text, "{}{address}", if index == 0 { "" } else { ", " });
    }
    text
}
