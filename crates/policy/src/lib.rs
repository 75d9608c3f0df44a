//! What NetworkPolicies and ClusterNetworkPolicies mean for the Pods of one node: a pure, incremental function from objects
//! to the tables that the datapath looks verdicts up in.
//!
//! Every address is of a *class*: the set of what policies in use select that matches it. Every Pod of this node has a *set*
//! of verdicts, one *list* for each direction and class; Pods with equal policy share one. A list says what becomes of each
//! port. Sets and lists never change: what changes is the class of an address, and the set of a Pod.
//!
//! How [`Judge::update`] gets there:
//!
//! - `subject`: which policies apply to a Pod of this node. What one policy says of one direction is a `side`; equal sides in
//!   equal order are one set (`sets`).
//! - `compile`: what rules of those sides ask of the other end are *terms* (`term`, `terms`), each content once.
//! - `vocabulary`, `kinds`: only words that these terms use count. Pods that do not differ in them are of one *kind*, and
//!   what matches it is computed once. Selectors and kinds meet at `anchor`s instead of all of one with all of the other.
//! - `regions`: blocks and their exceptions are cut into regions, of which the longest that an address is in counts.
//! - `addresses`: whose an address is, and so what matches it: its owner's kind or node, and its region. Both together are
//!   its class (`classes`).
//! - `entries`, `paint`: for each set and class with a term in common, the rules that match, in order, become a list.
//! - `weight`: what would take too much memory is refused before: the Pods keep what they had.
//!
//! [`compare`] says of two states of a cluster how what they allow differs.

mod addresses;
mod anchor;
mod both;
mod classes;
mod compare;
mod compile;
mod entries;
mod explain;
mod hash;
mod judge;
mod kind;
mod kinds;
mod locals;
mod names;
mod namespaces;
mod node_peers;
mod numbered;
mod paint;
mod pod_peers;
mod pods;
mod policies;
mod prefix;
mod problem;
mod profiles;
mod regions;
mod sets;
mod side;
mod subject;
mod tables;
mod term;
mod terms;
mod vocabulary;
mod weight;

pub use compare::{Change, Comparison, Decision, End, Ports, TooMuch, compare};
pub use explain::{Applied, SetUsage, Usage};
pub use judge::Judge;
pub use problem::{KINDS, Problem};
pub use tables::{
    Changes, ClassId, Direction, Entry, EntryKey, Interval, List, ListId, LocalId, LocalPod, Origin, RuleId,
    RuleName, SetId, Verdict,
};
