//! Making MidoNet have resources.
//!
//! A resource is posted first: most are new. If it exists, it is read and compared, and only what differs is written:
//! every write of MidoNet's database reaches all its agents. What cannot be replaced in place is deleted and created,
//! but not a chain: its rules, and the jumps to it, would be deleted with it, and it differs in name and tenant alone,
//! which no packet depends on. That a chain exists is asked all the same: MidoNet's 409 may mean that somebody else
//! wrote at that moment.
//!
//! A chain's rules that are pushed together get the order that posting them to an empty chain gives, each in front of
//! the one before it, although some of them may exist already: one that stands behind what it has to precede is deleted
//! and created in front.

use std::collections::HashMap;

use http::StatusCode;
use midonet::{Body, HostInterfacePort, Kind, Port, PortLink, Resource};
use uuid::Uuid;

use crate::error::{Class, Error};
use crate::found::Found;
use crate::operation::{Operation, call, incomplete};
use crate::refusal;
use crate::transport::Answer;
use crate::{PushError, Report};

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Created,
    Replaced,
    Unchanged,
}

/// A push: the positions of the last rules in their chains.
pub(crate) struct Push<'a> {
    operation: Operation<'a>,
    /// By chain: where the rule of it that was pushed last stands.
    last_rule: HashMap<Uuid, u64>,
}

impl<'a> Push<'a> {
    pub(crate) fn new(operation: Operation<'a>) -> Self {
        Self { operation, last_rule: HashMap::new() }
    }

    /// Pushes one after the other.
    pub(crate) async fn all(&mut self, resources: &[Resource]) -> Result<Report, PushError> {
        let mut report = Report::default();
        for (index, resource) in resources.iter().enumerate() {
            let result = self.one(resource).await;
            report.requests = self.operation.requests;
            match result {
                Ok(Done::Created) => report.created += 1,
                Ok(Done::Replaced) => report.replaced += 1,
                Ok(Done::Unchanged) => report.unchanged += 1,
                Err(error) => return Err(PushError { index, kind: resource.kind(), error, report }),
            }
        }
        Ok(report)
    }

    async fn one(&mut self, resource: &Resource) -> Result<Done, Error> {
        let path = resource.item_path().ok_or_else(|| incomplete(resource, "POST"))?;
        let answer = self.operation.post(resource, None).await?;
        if answer.status.is_success() {
            self.note_rule(resource, Some(1));
            return Ok(Done::Created);
        }
        if !may_exist(resource.kind(), answer.status) {
            return Err(self.operation.not_created(resource, &answer));
        }
        match &resource.body {
            Body::PortLink(link) => self.linked(resource, &path, link, &answer).await,
            _ => match self.read(&path, resource.kind()).await? {
                Some(found) => self.existing(resource, &path, &found).await,
                None => self.in_the_way(resource, &answer).await,
            },
        }
    }

    /// The resource exists.
    async fn existing(&mut self, resource: &Resource, path: &str, found: &Found) -> Result<Done, Error> {
        let same = found.is(&resource.body) && found.belongs_to(resource);
        match &resource.body {
            Body::Rule(_) => {
                let last = resource.parent.and_then(|chain| self.last_rule.get(&chain)).copied();
                let ordered = found.position().zip(last).is_none_or(|(here, last)| here < last);
                if same && ordered {
                    self.note_rule(resource, found.position());
                    return Ok(Done::Unchanged);
                }
                let place = found.position().filter(|_| ordered && found.belongs_to(resource));
                self.again(resource, path, place).await
            }
            _ if same => Ok(Done::Unchanged),
            Body::Chain(_) => Ok(Done::Unchanged),
            // MidoNet refuses to replace a zone under its own name: its type stays.
            Body::TunnelZone(zone) if found.name() == Some(&zone.name) => Ok(Done::Unchanged),
            Body::Port(port) if found.belongs_to(resource) && has_type(found, port) => {
                self.operation.move_local_routes(resource, port, found).await?;
                self.replace(resource).await
            }
            Body::Router(_) | Body::Bridge(_) | Body::TunnelZone(_) => self.replace(resource).await,
            // A port of another bridge or router too: its binding, link and routes are pushed after it.
            _ => self.again(resource, path, None).await,
        }
    }

    /// Replaces a resource in place.
    async fn replace(&mut self, resource: &Resource) -> Result<Done, Error> {
        let answer = self.operation.put(resource).await?;
        if answer.status.is_success() {
            Ok(Done::Replaced)
        } else {
            Err(self.operation.not_replaced(resource, &answer))
        }
    }

    /// Deletes a resource and creates it; a rule at this position of its chain, or in front.
    async fn again(&mut self, resource: &Resource, path: &str, position: Option<u64>) -> Result<Done, Error> {
        self.operation.delete(path, resource.kind()).await?;
        let mut position = position;
        let mut answer = self.operation.post(resource, position).await?;
        if answer.status == StatusCode::BAD_REQUEST && position.take().is_some() {
            // The chain may be shorter by now. The rule is to be there at any rate.
            answer = self.operation.post(resource, None).await?;
        }
        if !answer.status.is_success() {
            return Err(self.operation.not_created(resource, &answer));
        }
        self.note_rule(resource, Some(position.unwrap_or(1)));
        Ok(Done::Replaced)
    }

    /// MidoNet does not create the resource and has none of its path.
    async fn in_the_way(&mut self, resource: &Resource, answer: &Answer) -> Result<Done, Error> {
        let mut error = self.operation.not_created(resource, answer);
        match &resource.body {
            Body::HostInterfacePort(binding) => {
                // A port is bound once. If it is bound at another host, that is of the past: such as a host that got
                // another id.
                let port = self.read(&port_path(binding.port_id), Kind::Port).await?;
                let host =
                    port.and_then(|port| port.id("hostId")).filter(|host| Some(*host) != resource.parent);
                let Some(host) = host else { return Err(error) };
                let old = HostInterfacePort { host_id: host, ..binding.clone() };
                let path = Resource::of(host, old).item_path().unwrap_or_default();
                return self.again(resource, &path, None).await;
            }
            Body::TunnelZone(_) => {
                error.remedy = "delete or rename the other tunnel zone of this name in MidoNet".into();
            }
            Body::MacPort(_) | Body::Ipv4MacPair(_) => {
                error.class = Class::Missing;
                error.remedy = "it is tried again: MidoNet says so if the bridge does not exist; if it does, see the log \
                                of MidoNet's API server"
                    .into();
            }
            // It was deleted in between.
            _ => error.remedy = "it is tried again".into(),
        }
        Err(error)
    }

    /// The ports are not linkable: they may be linked to each other. A link to another port is of the past: both ports are
    /// those of the resource.
    async fn linked(
        &mut self,
        resource: &Resource,
        path: &str,
        link: &PortLink,
        answer: &Answer,
    ) -> Result<Done, Error> {
        let Some(port) = resource.parent else { return Err(self.operation.not_created(resource, answer)) };
        let there = self.read(&port_path(port), Kind::Port).await?;
        match there.and_then(|found| found.id("peerId")) {
            Some(peer) if peer == link.peer_id => Ok(Done::Unchanged),
            Some(_) => self.again(resource, path, None).await,
            None => {
                let path = Resource::of(link.peer_id, link.clone()).item_path().unwrap_or_default();
                self.again(resource, &path, None).await
            }
        }
    }

    /// What MidoNet has under a path.
    async fn read(&mut self, path: &str, kind: Kind) -> Result<Option<Found>, Error> {
        self.operation.read(path, kind).await
    }

    /// Notes where a rule stands now.
    fn note_rule(&mut self, resource: &Resource, position: Option<u64>) {
        if let (Kind::Rule, Some(chain), Some(position)) = (resource.kind(), resource.parent, position) {
            self.last_rule.insert(chain, position);
        }
    }
}

impl Operation<'_> {
    /// What MidoNet has under a path.
    pub(crate) async fn read(&mut self, path: &str, kind: Kind) -> Result<Option<Found>, Error> {
        let answer = self.get(path, kind).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let found = Found::read(kind, &answer.body);
                let call = call(http::Method::GET, path, kind, None);
                found.map(Some).map_err(|why| refusal::unusable(&call, &answer, &why))
            }
            _ => Err(self.not_read(path, kind, &answer)),
        }
    }
}

/// Whether this answer to a POST may mean that the resource exists.
fn may_exist(kind: Kind, status: StatusCode) -> bool {
    match kind {
        // MidoNet's tables of addresses fail where there is such an entry.
        Kind::MacPort | Kind::Ipv4MacPair => {
            matches!(status, StatusCode::CONFLICT | StatusCode::INTERNAL_SERVER_ERROR)
        }
        _ => status == StatusCode::CONFLICT,
    }
}

fn has_type(found: &Found, wanted: &Port) -> bool {
    matches!(found.body(), Some(Body::Port(port)) if port.port_type == wanted.port_type)
}

fn port_path(port: Uuid) -> String {
    format!("/ports/{port}")
}
