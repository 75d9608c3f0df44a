//! What became of a packet, as programs get it: see docs/reference.md.

use std::net::Ipv4Addr;

use midonet_simulator::Trace;
use serde::Serialize;

use super::topology::Source;
use crate::API_VERSION;
use crate::port::Port;

/// What became of a packet and its reply.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    api_version: &'static str,
    kind: &'static str,
    pub(super) from: End,
    pub(super) to: End,
    pub(super) protocol: &'static str,
    /// 0: the protocol has none.
    pub(super) port: u16,
    /// The packet, its reply, and what was asked for without an answer.
    pub(super) parts: Vec<Part>,
    pub(super) outcome: Outcome,
    /// What is wrong with what MidoNet is told.
    pub(super) problems: Vec<String>,
}

/// One end.
#[derive(Debug, Serialize)]
pub(super) struct End {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
}

/// One packet's path.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    pub(super) what: &'static str,
    pub(super) trace: Trace,
}

/// How it ends.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    /// Whether the reply arrives.
    pub(super) answered: bool,
    pub(super) why: String,
    /// What to do about it; nothing if all is well or nothing is known.
    pub(super) remedy: String,
}

impl View {
    pub(super) fn new(
        from: &Source,
        to_name: &str,
        to: Ipv4Addr,
        port: &Port,
        parts: Vec<Part>,
        outcome: Outcome,
        problems: Vec<String>,
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Trace",
            from: End { name: from.name.clone(), address: from.address },
            to: End { name: to_name.to_owned(), address: to },
            protocol: port.protocol,
            port: port.number,
            parts,
            outcome,
            problems,
        }
    }

    /// Whether the packet arrives, and its reply.
    pub(super) fn is_answered(&self) -> bool {
        self.outcome.answered
    }
}

impl Outcome {
    /// By whom, and where that is.
    pub(super) fn answered(by: &str, node: &str) -> Self {
        Self { answered: true, why: format!("{by} on {node} answers"), remedy: String::new() }
    }

    /// One of MidoNet's own devices answers to a ping.
    pub(super) fn device() -> Self {
        Self { answered: true, why: "the router answers".to_owned(), remedy: String::new() }
    }

    pub(super) fn lost(why: String, remedy: &str) -> Self {
        Self { answered: false, why, remedy: remedy.to_owned() }
    }
}
