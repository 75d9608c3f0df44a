//! A flow: a record with the names of those who have to do with it.

use std::sync::Arc;
use std::time::Duration;

use datapath::records::Record;
use objects::Key;
use policy::RuleName;

/// What tells a flow from all others of this node.
pub(super) type Identity = (u8, std::net::SocketAddr, std::net::SocketAddr, u64);

/// The port of a Service: the Service, and the port's name.
pub(crate) type ServicePort = (Key, Arc<str>);

/// What policy said on this node in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// `None`: a rule that is not known any more.
    pub(crate) rule: Option<Arc<RuleName>>,
    /// It would be denied, but for an audit.
    pub(crate) audit: bool,
}

/// A connection with names.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub(crate) record: Record,
    /// The Pod that began it.
    pub(crate) client: Option<Key>,
    /// The Pod that serves it.
    pub(crate) server: Option<Key>,
    /// The Service that it goes through.
    pub(crate) service: Option<ServicePort>,
    /// What let it come to its server; `None`: no rule.
    pub(crate) ingress: Option<Decision>,
    /// What let its client send it.
    pub(crate) egress: Option<Decision>,
    /// It goes on no more.
    pub(crate) ended: bool,
    /// When it had a line in the file, since boot.
    pub(super) written: Duration,
}

impl Flow {
    /// What tells it from others.
    pub(super) fn identity(record: &Record) -> Identity {
        (record.protocol, record.source, record.backend, record.id)
    }

    /// Whether the same rules let another record of it pass.
    pub(super) fn is_judged_as(&self, record: &Record) -> bool {
        (self.record.ingress, self.record.egress) == (record.ingress, record.egress)
    }

    /// How many of its names are known.
    pub(super) fn names(&self) -> usize {
        let known = [self.client.is_some(), self.server.is_some(), self.service.is_some()];
        known.into_iter().filter(|known| *known).count()
    }

    /// Whether it has all that it can have.
    pub(super) fn is_named(&self) -> bool {
        self.client.is_some() && self.server.is_some() && (self.record.service == 0 || self.service.is_some())
    }

    /// Whether it only passes because a policy is on trial.
    pub(crate) fn is_audited(&self) -> bool {
        self.record.ingress.audited || self.record.egress.audited
    }
}
