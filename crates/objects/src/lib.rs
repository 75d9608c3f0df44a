//! Kubernetes objects, from an API server or from a watched directory of manifests, as changes of each kind; and
//! annotations back the same path. What is wrong with a node, and what happened to its Pods, is
//! told to the API server, too.
//!
//! Objects are trimmed to what this project uses as soon as they arrive. A [`Kind`] is what a kind of objects is made of;
//! listing, watching, reading manifests, the [cache](Cache) on disk and the store of what is known work for any.

mod annotate;
mod api;
mod body;
mod cache;
mod client;
mod degraded;
mod directory;
mod entry;
mod errors;
mod event;
mod event_recorder;
mod fault;
mod health;
mod kind;
mod kinds;
mod listing;
mod name;
mod near;
mod network;
mod options;
mod permissions;
mod place;
mod policy_manifests;
mod recorder;
mod selector;
mod server;
mod shared;
mod source;
mod store;
mod target;
mod task;
mod watch;
mod writer;

pub use annotate::{AnnotateError, Annotator, PodRef};
pub use cache::Cache;
pub use degraded::{Complaint, Reporter};
pub use directory::{ManifestError, Manifests, Workload};
pub use errors::{ApiErrors, Reason, Verb};
pub use event_recorder::{EventRecorder, ObjectEvent};
pub use fault::Fault;
pub use health::{Health, InvalidObjects};
pub use kind::{Invalid, Key, Kind, Metadata, Resource};
pub use kinds::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPort, ClusterRule, Endpoint, EndpointPort,
    EndpointSlice, Hints, Ignored, LabelSelector, Labels, NamedPort, Namespace, NetworkPolicy, Node,
    Operator, Peer, Pod, PolicyPort, PortSpec, Ports, Requirement, Rule, Service, ServiceCidr, ServiceType,
    Tier,
};
pub use listing::{ListError, Listing};
pub use near::did_you_mean;
pub use network::{Family, Protocol};
pub use options::{ApiOptions, ConnectError};
pub use policy_manifests::PolicyManifests;
pub use recorder::{PodEvent, Recorder};
pub use selector::Selector;
pub use source::{Connection, Source};
pub use store::{Changes, Delta};
pub use watch::{Watch, Watching};
pub use writer::{Patch, Writer, Written};
