//! Kubernetes objects, from an API server or from a watched folder of manifests, as one stream of changes;
//! and annotations back the same way. What is wrong with a node is told to the API server, too.
//!
//! Objects are trimmed to what this project uses as soon as they arrive. Another kind is another variant of
//! [`Object`], another watch in `api` and another arm in `manifest`.

mod annotate;
mod api;
mod cache;
mod client;
mod degraded;
mod errors;
mod fault;
mod folder;
mod health;
mod manifest;
mod object;
mod server;
mod snapshot;
mod source;

pub use annotate::{AnnotateError, Annotator, PodRef};
pub use cache::Cache;
pub use degraded::{Complaint, Reporter};
pub use errors::{ApiErrors, Reason, Verb};
pub use fault::Fault;
pub use health::Health;
pub use object::{InvalidObject, Key, Node, Object};
pub use snapshot::{Change, Snapshot};
pub use source::{ApiOptions, ConnectError, Connection, Look, LookError, Source};
