//! Kubernetes objects as what MidoNet is to hold: Nodes, Pods, Services and EndpointSlices become Translations, which
//! are custom resources with lists of MidoNet's resources. Pure and incremental: a [`Translator`] is told what changed
//! and gives the owners whose Translations may differ with all that is wanted of each.
//!
//! Ids, names, labels and bodies are those of midonet-kubernetes, so that what it made can be taken over in place. What
//! differs from it:
//!
//! - **Services spread their load, and a Pod reaches itself through its Service**: see [`services`](#services) below.
//! - **The Translations of endpoints belong to the Service**, not to an Endpoints object: there may be many EndpointSlices,
//!   and they end with the Service. Their names are the original's, so a writer that patches one has to set its label and
//!   owner reference, too.
//! - A name that is too long for Kubernetes is cut and ends with the hash of the whole; the original failed there.
//! - Bad input is a [`Problem`] of its object, and the rest goes on.
//! - The first IPv4 podCIDR, Pod address or cluster IP is used; IPv6 is passed over and told once for each object.
//!
//! # Services
//! For a port of a Service there are four chains. `KUBE-SVC`, which packets to the cluster IP enter, sends them through
//! `KUBE-DNAT`, then through `KUBE-EPS`, then through `KUBE-END`:
//!
//! 1. `KUBE-DNAT` has one rule with a target for every endpoint, of which MidoNet takes one at random for a new connection.
//!    It matches the cluster IP, so that a packet that is translated is not translated again.
//! 2. `KUBE-EPS` has a jump for every endpoint that matches what the endpoint sends to itself, into its chain `KUBE-SEP`,
//!    where its source becomes the cluster IP: the answer comes back through MidoNet.
//! 3. `KUBE-END` accepts what is translated, so that nothing else translates it; what is not goes on.
//!
//! MidoNet puts a new rule in front of those that a chain has. Where the order of two rules matters, they are in the
//! Service's own Translation, and are posted in the reverse of it: the jumps of `KUBE-SVC`, and the rules of `KUBE-END`.
//! `KUBE-DNAT` and `KUBE-EPS` have rules of other Translations alone, and those of one chain do the same in any order. So
//! between Translations no order of rules matters, only that parents exist: a list of endpoints changes at any time, and
//! Translations are pushed in any order after MidoNet lost something or a request failed.
//!
//! Within a Translation the order is to be kept: where a resource cannot be posted, those after it wait until it is.
//!
//! Rules have no PUT. Another list of endpoints is a Translation with another name and another rule, which is in front of
//! the old one as soon as it is posted; the old one is to be deleted only afterwards, and no connection finds none.
//! Endpoints are the ready ones; if none is ready, those that still serve while they terminate (KEP-1669).
//!
//! ## Taking over
//! In the original `KUBE-SVC` has an unconditional jump to each `KUBE-SEP`, where packets are translated. The order of a
//! Service's set keeps it in service: first `KUBE-SVC` gets its jumps in front, which let packets pass to the old ones;
//! then the rule in `KUBE-DNAT` takes the packets; then each endpoint's Translation loses its old rules; what is not wanted
//! is deleted last. To push in this order is the pusher's part: within a changed Translation, first what is new, then what
//! is gone; and if one cannot be pushed, nothing of those behind it in the set is deleted until it is.

mod attachment;
mod custom_resource;
mod endpoints;
mod globals;
mod ids;
mod index;
mod input;
mod name;
mod network;
mod node;
mod object;
mod pod;
mod problem;
mod protocol;
mod rules;
mod service;
mod set;
mod translation;
mod translator;
mod wanted;

pub use custom_resource::{API_VERSION, CustomResource, KIND, Metadata, OwnerReference};
pub use input::{
    AddressType, Endpoint, EndpointPort, EndpointSlice, Node, NodeAddress, Pod, Service, ServicePort,
};
pub use name::{InvalidName, MAX_NAME, make_dns, translation_name};
pub use object::{Key, Object, ObjectKind};
pub use problem::{Problem, Reason};
pub use translation::{FINALIZER, GLOBAL_LABEL, OWNER_LABEL, Owner, Translation};
pub use translator::{Change, Translator};
pub use wanted::Wanted;
