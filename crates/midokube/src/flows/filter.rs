//! Which flows are wanted: pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use clap::ValueEnum;
use objects::did_you_mean;

use super::view::Flow;
use crate::name::Name;
use crate::port::Port;

/// What policy said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
    /// It only passes because a policy is on trial.
    Audit,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Audit => "audit",
        }
    }
}

/// One thing that a flow has or has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Pod(Name),
    Namespace(String),
    Address(IpAddr),
    Port(Port),
    Verdict(Verdict),
    Reason(String),
    Service(Name),
}

impl Condition {
    /// What is asked for by name.
    fn name(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Pod(name) => Some(("Pod", name.to_string())),
            Self::Namespace(name) => Some(("namespace", name.clone())),
            Self::Reason(name) => Some(("reason", name.clone())),
            Self::Service(name) => Some(("Service", name.to_string())),
            Self::Address(_) | Self::Port(_) | Self::Verdict(_) => None,
        }
    }

    /// What a flow has of that kind.
    fn names<'a>(&self, flow: &'a Flow) -> Vec<&'a str> {
        match self {
            Self::Pod(_) => flow.pods().collect(),
            Self::Namespace(_) => {
                let names = flow.pods().chain(flow.services());
                names.filter_map(|name| name.split_once('/')).map(|(namespace, _)| namespace).collect()
            }
            Self::Reason(_) => flow.reason.as_deref().into_iter().collect(),
            Self::Service(_) => flow.services().collect(),
            Self::Address(_) | Self::Port(_) | Self::Verdict(_) => Vec::new(),
        }
    }

    fn is_met(&self, flow: &Flow) -> bool {
        match self {
            Self::Pod(wanted) => flow.pods().any(|pod| {
                let (namespace, name) = pod.split_once('/').unwrap_or(("", pod));
                namespace == wanted.namespace && name == wanted.name
            }),
            Self::Namespace(wanted) => {
                let names = flow.pods().chain(flow.services());
                names.filter_map(|name| name.split_once('/')).any(|(namespace, _)| namespace == wanted)
            }
            Self::Address(wanted) => {
                let is_it =
                    |address: &str| address.parse::<IpAddr>().is_ok_and(|ip| ip == wanted.to_canonical());
                flow.ends().any(|end| is_it(&end.address))
            }
            Self::Port(Port { protocol, number }) => {
                let is_it = |port: Option<u32>| port == Some(u32::from(*number));
                flow.protocol.as_deref() == Some(*protocol)
                    && (*number == 0 || is_it(flow.frontend.port) || is_it(flow.backend.port))
            }
            Self::Verdict(wanted) => flow.verdict == wanted.name(),
            Self::Reason(wanted) => flow.reason.as_ref() == Some(wanted),
            Self::Service(wanted) => {
                let wanted = wanted.to_string();
                flow.services().any(|service| service == wanted)
            }
        }
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const OPTIONS: &str = "pod=, namespace=, address=, port=, verdict=, reason= or service= is expected, for example \
                               port=udp/53";
        let (option, value) = text.split_once('=').ok_or(OPTIONS)?;
        if value.is_empty() {
            return Err(format!("{option}= has no value"));
        }
        let name = || value.parse::<Name>().map_err(str::to_owned);
        Ok(match option {
            "pod" => Self::Pod(name()?),
            "namespace" => Self::Namespace(value.to_owned()),
            "address" => Self::Address(value.parse().map_err(|_| format!("{value} is no IP address"))?),
            "port" => Self::Port(value.parse::<Port>()?),
            "verdict" => {
                Self::Verdict(Verdict::from_str(value, true).map_err(|_| "allow, deny or audit is expected")?)
            }
            "reason" => Self::Reason(value.to_owned()),
            "service" => Self::Service(name()?),
            _ => return Err(OPTIONS.to_owned()),
        })
    }
}

/// What flows have to match.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// All of these.
    pub(crate) all: Vec<Condition>,
    /// None of these.
    pub(crate) none: Vec<Condition>,
}

impl Filter {
    /// What no flow has that is asked for by name, in words.
    pub(super) fn unknown(&self, flows: &[Flow]) -> Vec<String> {
        let missing = self.all.iter().filter(|condition| !flows.iter().any(|flow| condition.is_met(flow)));
        let told = missing.filter_map(|condition| {
            let (what, wanted) = condition.name()?;
            let known: BTreeSet<&str> = flows.iter().flat_map(|flow| condition.names(flow)).collect();
            Some(format!(
                "of {} flows none is of the {what} {wanted}{}",
                flows.len(),
                did_you_mean(&wanted, known)
            ))
        });
        told.collect()
    }

    /// Whether a flow matches.
    pub(crate) fn matches(&self, flow: &Flow) -> bool {
        self.all.iter().all(|condition| condition.is_met(flow))
            && !self.none.iter().any(|condition| condition.is_met(flow))
    }
}
