//! The kinds of objects that there are. Another one is a file here and a line in [`ALL`]; the ClusterRole in
//! deploy/midonet-kube.yaml has to allow listing and watching it.

mod node;

pub use node::Node;

use crate::kind::{Kind, Resource};

/// Every kind that the agent lists and watches.
pub(crate) const ALL: [Resource; 1] = [Node::RESOURCE];
