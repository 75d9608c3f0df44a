//! MidoNet's resources as its REST API has them: kinds, bodies, paths and media types. No I/O.
//!
//! A [`Resource`] is one object of the API with its parent, if its kind has one. Kubernetes stores it in a Translation
//! as an [`Entry`]: the kind's name, the parent's id, and the body as JSON text. The order of a body's fields and which
//! of them are left out are those of midonet-kubernetes, so that a Translation that it wrote does not change.

mod bodies;
mod entry;
mod kind;
mod path;

pub use bodies::{
    Body, Bridge, Chain, FlowAction, HostInterfacePort, Ipv4MacPair, MacPort, NatTarget, Port, PortLink,
    PortRange, PortType, Route, RouteType, Router, Rule, RuleType, TunnelZone, TunnelZoneHost,
    TunnelZoneType,
};
pub use entry::{Entry, EntryError};
pub use kind::Kind;

use uuid::Uuid;

/// One object of MidoNet's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it belongs to: a bridge's or router's id for a port, a chain's for a rule, a host's for a binding. None for
    /// what has no parent.
    pub parent: Option<Uuid>,
    /// What is sent.
    pub body: Body,
}

impl Resource {
    /// A resource without a parent.
    pub fn top(body: impl Into<Body>) -> Self {
        Self { parent: None, body: body.into() }
    }

    /// A resource of this parent.
    pub fn of(parent: Uuid, body: impl Into<Body>) -> Self {
        Self { parent: Some(parent), body: body.into() }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }
}
