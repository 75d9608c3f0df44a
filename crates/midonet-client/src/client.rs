use std::fmt;
use std::sync::Arc;

use http::Method;
use midonet::{Body, Kind, Resource};

use crate::error::{Class, Error};
use crate::gate::{Gate, Turn};
use crate::operation::{Inner, Operation, incomplete};
use crate::push::Push;
use crate::session::Session;
use crate::transport::{Call, Transport};
use crate::{Host, Observer, Options, OptionsError, PushError, Report, refusal, remove};

/// The media type of the list of hosts.
const HOSTS: &str = "application/vnd.org.midonet.collection.Host-v3+json";

/// A client of MidoNet's REST API. Clones share its connections, token and limits.
///
/// It needs a runtime of tokio with time and I/O. If a future of it is dropped, whether MidoNet has done what was asked is
/// not known, and pushing again finds out.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL or the credentials cannot be used, or there are no certificate authorities.
    pub fn new(options: &Options, observer: Arc<dyn Observer>) -> Result<Self, OptionsError> {
        let inner = Inner {
            transport: Transport::new(options, observer)?,
            session: Session::new(options)?,
            gate: Gate::new(options.limits),
            turn: options.deadlines.turn,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes MidoNet have these resources, one after the other, and stops at the first that it cannot.
    ///
    /// What does not exist is created. What exists with other content is replaced: in place where MidoNet can do that
    /// (tunnel zone, router, bridge, port), otherwise it is deleted and created (tunnel-zone host, route, rule, binding,
    /// link; a port of another bridge too). A chain that exists is left as it is: its rules would be deleted with it; and
    /// so is a tunnel zone of which only the type differs, which MidoNet cannot change. Rules of a chain get the order
    /// that posting them to an empty chain gives: the last one is in front.
    ///
    /// # Errors
    /// [`Class::Missing`]: what a resource belongs to is not there, yet. [`Class::Conflict`]: another one is in the way.
    /// [`Class::Invalid`]: MidoNet does not accept the content. Others: see [`Class`].
    pub async fn push(&self, resources: &[Resource]) -> Result<Report, PushError> {
        let Some(first) = resources.first() else { return Ok(Report::default()) };
        let turn = self.turn("POST", first).await?;
        Push::new(Operation::new(&self.inner, turn)).all(resources).await
    }

    /// Makes MidoNet have none of these resources. They are deleted in the order given; what is not there is passed over.
    /// If MidoNet does not delete one, the others are deleted all the same.
    ///
    /// # Errors
    /// That of the first resource that was not deleted.
    pub async fn remove(&self, resources: &[Resource]) -> Result<Report, PushError> {
        let Some(first) = resources.first() else { return Ok(Report::default()) };
        let turn = self.turn("DELETE", first).await?;
        remove::all(&mut Operation::new(&self.inner, turn), resources).await
    }

    /// Creates a resource (POST).
    ///
    /// # Errors
    /// [`Class::Conflict`]: it exists. [`Class::Missing`]: what it belongs to does not. Others: see [`Class`].
    pub async fn create(&self, resource: &Resource) -> Result<(), Error> {
        let turn = self.turn("POST", resource).await.map_err(|error| error.error)?;
        let mut operation = Operation::new(&self.inner, turn);
        let answer = operation.post(resource, None).await?;
        if answer.status.is_success() { Ok(()) } else { Err(operation.not_created(resource, &answer)) }
    }

    /// Replaces a resource (PUT).
    ///
    /// # Errors
    /// [`Class::Missing`]: it does not exist. [`Class::Invalid`]: its kind cannot be replaced
    /// ([`midonet::Kind::can_be_replaced`]). Others: see [`Class`].
    pub async fn replace(&self, resource: &Resource) -> Result<(), Error> {
        if !resource.kind().can_be_replaced() {
            return Err(impossible("PUT", resource.kind()));
        }
        let turn = self.turn("PUT", resource).await.map_err(|error| error.error)?;
        let mut operation = Operation::new(&self.inner, turn);
        let answer = operation.put(resource).await?;
        if answer.status.is_success() { Ok(()) } else { Err(operation.not_replaced(resource, &answer)) }
    }

    /// Deletes a resource (DELETE); whether it may have been there. Of some kinds MidoNet does not say that one was not
    /// there.
    ///
    /// # Errors
    /// See [`Class`].
    pub async fn delete(&self, resource: &Resource) -> Result<bool, Error> {
        let path = resource.item_path().ok_or_else(|| incomplete(resource, "DELETE"))?;
        let turn = self.turn("DELETE", resource).await.map_err(|error| error.error)?;
        Operation::new(&self.inner, turn).delete(&path, resource.kind()).await
    }

    /// What MidoNet has under a resource's path (GET), if it has one.
    ///
    /// # Errors
    /// [`Class::Invalid`]: its kind cannot be read ([`midonet::Kind::can_be_read`]). [`Class::Failed`]: it is something
    /// that Translations cannot have, such as a rule of another type. Others: see [`Class`].
    pub async fn get(&self, resource: &Resource) -> Result<Option<Body>, Error> {
        let kind = resource.kind();
        if !kind.can_be_read() {
            return Err(impossible("GET", kind));
        }
        let path = resource.item_path().ok_or_else(|| incomplete(resource, "GET"))?;
        let turn = self.turn("GET", resource).await.map_err(|error| error.error)?;
        let Some(found) = Operation::new(&self.inner, turn).read(&path, kind).await? else { return Ok(None) };
        found.body().map(Some).ok_or_else(|| Error {
            class: Class::Failed,
            method: "GET",
            path,
            status: None,
            problem: format!("MidoNet has a {kind} with content that Translations cannot have"),
            remedy: "push the resource, or see who else changes MidoNet".into(),
        })
    }

    /// MidoNet's hosts.
    ///
    /// # Errors
    /// See [`Class`].
    pub async fn hosts(&self) -> Result<Vec<Host>, Error> {
        let call = Call {
            method: Method::GET,
            path: "/hosts",
            resource: "Host",
            media_type: Some(HOSTS),
            body: None,
        };
        let turn = self.inner.gate.turn(self.inner.turn).await;
        let turn = turn.map_err(|why| no_turn("GET", call.path.to_owned(), why))?;
        let mut operation = Operation::new(&self.inner, turn);
        let answer = operation.call(&call).await?;
        if !answer.status.is_success() {
            return Err(refusal::of(&call, &answer, &self.inner.session));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| refusal::unusable(&call, &answer, &format!("is no list of hosts: {error}")))
    }

    /// Waits for a turn of an operation that begins with this request.
    async fn turn(&self, method: &'static str, first: &Resource) -> Result<Turn<'_>, PushError> {
        let turn = self.inner.gate.turn(self.inner.turn).await;
        turn.map_err(|why| {
            let path = first.item_path().unwrap_or_default();
            let error = no_turn(method, path, why);
            PushError { index: 0, kind: first.kind(), error, report: Report::default() }
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { transport, session, gate, .. } = &*self.inner;
        out.debug_struct("Client")
            .field("url", &transport.base)
            .field("session", session)
            .field("gate", gate)
            .finish_non_exhaustive()
    }
}

/// The turn did not come in time.
fn no_turn(method: &'static str, path: String, why: Option<Error>) -> Error {
    let (problem, remedy, class) = match why {
        Some(why) => {
            (format!("not sent, since: {} {}: {}", why.method, why.path, why.problem), why.remedy, why.class)
        }
        None => (
            "not sent: MidoNet is too slow for everything that it is sent".to_owned(),
            "it is tried again; see the load of MidoNet's API server".to_owned(),
            Class::Unreachable,
        ),
    };
    Error { class, method, path, status: None, problem, remedy }
}

fn impossible(method: &'static str, kind: Kind) -> Error {
    Error {
        class: Class::Invalid,
        method,
        path: "(none)".into(),
        status: None,
        problem: format!("MidoNet has no {method} for a {kind}"),
        remedy: "use another operation".into(),
    }
}
