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

    /// Whether it has all names that another record of it needs.
    pub(super) fn is_named_for(&self, record: &Record) -> bool {
        let has_ends = self.client.is_some() && self.server.is_some();
        let has_service = record.service == 0 || self.service.is_some();
        let is_judged_alike = (self.record.ingress, self.record.egress) == (record.ingress, record.egress);
        has_ends && has_service && is_judged_alike
    }

    /// Whether it only passes because a policy is on trial.
    pub(crate) fn is_audited(&self) -> bool {
        self.record.ingress.audited || self.record.egress.audited
    }
}
