//! What the page asks for, and who answers.

use std::str::FromStr;

/// Knows the network of one node, or of all.
pub trait Source: Send + Sync + 'static {
    /// A number that changes whenever there may be another answer to the same question. Who is asked for it knows that
    /// somebody looks at the page.
    fn version(&self) -> u64;

    /// The document that answers a question, as JSON. It may wait for a node, as long as that takes.
    ///
    /// # Errors
    /// Why there is no answer.
    fn answer(&self, question: &Question) -> Result<Vec<u8>, Fault>;
}

/// What the page asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// All nodes, each with what there is to be said of it in a line.
    Nodes,
    /// All that the node of this name says of itself: `midokube status`.
    Node(String),
    /// Flows, those with the last packets first: `midokube flows`.
    Flows(Selection),
    /// The same, added up: who talks to whom.
    Map(Selection),
    /// A Pod (`namespace/name`): its port, and what applies to it, as `midokube status` and `midokube policy` have it.
    Pod(String),
    /// What becomes of a packet: `midokube trace`.
    Trace(Packet),
}

/// A packet, as `midokube trace` has it on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it, such as `default/client`.
    pub from: String,
    /// To whom, such as `service/default/web` or an address.
    pub to: String,
    /// The protocol and port, such as `tcp/80`.
    pub port: String,
}

/// Which flows are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// All of these hold, such as `port=tcp/80`: `OPTION=VALUE` as the option `--not` of `midokube flows` has it.
    pub all: Vec<String>,
    /// None of these holds.
    pub none: Vec<String>,
    /// With a packet in so much time, such as `10m`.
    pub since: Option<String>,
    /// What is looked at.
    pub focus: Focus,
    /// How many at most.
    pub limit: usize,
}

/// What of the cluster is looked at, and how closely.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Focus {
    /// Everything, by namespaces.
    #[default]
    Cluster,
    /// A namespace, by workloads.
    Namespace(String),
    /// A workload, by Pods: its namespace and its name.
    Workload(String, String),
}

impl FromStr for Focus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            None if text.is_empty() => Ok(Self::Cluster),
            None => Ok(Self::Namespace(text.to_owned())),
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::Workload(namespace.to_owned(), name.to_owned()))
            }
            Some(_) => Err("a namespace, or a namespace and a workload, is expected, for example shop/web"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The question makes no sense.
    Invalid(String),
    /// There is no such thing.
    Unknown(String),
    /// Who would know it cannot be asked.
    Unreachable(String),
}
