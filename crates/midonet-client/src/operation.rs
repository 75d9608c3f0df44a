//! The requests of one operation.

use bytes::Bytes;
use http::{Method, StatusCode};
use midonet::{Body, Kind, Resource};
use serde_json::Value;

use crate::error::{Class, Error};
use crate::gate::{Gate, Turn};
use crate::refusal;
use crate::session::{Session, Token};
use crate::transport::{Answer, Call, Transport};

/// What all operations share.
pub(crate) struct Inner {
    pub(crate) transport: Transport,
    pub(crate) session: Session,
    pub(crate) gate: Gate,
    pub(crate) turn: std::time::Duration,
}

/// An operation: it has a turn and counts its requests.
pub(crate) struct Operation<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) requests: usize,
    turn: Turn<'a>,
}

impl<'a> Operation<'a> {
    pub(crate) fn new(inner: &'a Inner, turn: Turn<'a>) -> Self {
        Self { inner, requests: 0, turn }
    }

    /// Sends a request and returns the answer, whatever it says. If MidoNet asks for a login, the request is sent again
    /// after it, once.
    ///
    /// # Errors
    /// There is no answer, MidoNet does not accept the credentials, or it cannot serve.
    pub(crate) async fn call(&mut self, call: &Call<'_>) -> Result<Answer, Error> {
        let result = self.with_login(call).await;
        match &result {
            Err(error) if error.class.is_general() => self.inner.gate.out_of_reach(error),
            _ => self.inner.gate.reached(),
        }
        self.turn.tried();
        result
    }

    async fn with_login(&mut self, call: &Call<'_>) -> Result<Answer, Error> {
        let Inner { transport, session, .. } = self.inner;
        let token = session.token(transport, &mut self.requests).await;
        let mut answer = self.send(call, token.as_ref()).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let token = session.renew(transport, token.as_ref(), &mut self.requests).await?;
            answer = self.send(call, Some(&token)).await?;
        }
        match answer.status {
            StatusCode::UNAUTHORIZED => Err(refusal::credentials(call, &answer, session)),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(refusal::of(call, &answer, session))
            }
            _ => Ok(answer),
        }
    }

    async fn send(&mut self, call: &Call<'_>, token: Option<&Token>) -> Result<Answer, Error> {
        let sent = self.inner.transport.send(call, &Token::headers(token), &mut self.requests).await;
        sent.map_err(|cause| refusal::no_answer(call, &cause))
    }

    /// Creates a resource; a rule at this position of its chain.
    pub(crate) async fn post(&mut self, resource: &Resource, position: Option<u64>) -> Result<Answer, Error> {
        let path = resource.collection_path().ok_or_else(|| incomplete(resource, "POST"))?;
        self.call(&call(Method::POST, &path, resource.kind(), Some(json(resource, position)))).await
    }

    /// Replaces a resource.
    pub(crate) async fn put(&mut self, resource: &Resource) -> Result<Answer, Error> {
        let path = resource.item_path().ok_or_else(|| incomplete(resource, "PUT"))?;
        self.call(&call(Method::PUT, &path, resource.kind(), Some(json(resource, None)))).await
    }

    /// Reads what has this path.
    pub(crate) async fn get(&mut self, path: &str, kind: Kind) -> Result<Answer, Error> {
        self.call(&call(Method::GET, path, kind, None)).await
    }

    /// Deletes what has this path; whether it may have been there.
    pub(crate) async fn delete(&mut self, path: &str, kind: Kind) -> Result<bool, Error> {
        let call = call(Method::DELETE, path, kind, None);
        let answer = self.call(&call).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(refusal::of(&call, &answer, &self.inner.session)),
        }
    }

    /// The error of an answer to a POST.
    pub(crate) fn not_created(&self, resource: &Resource, answer: &Answer) -> Error {
        let path = resource.collection_path().unwrap_or_default();
        refusal::of(&call(Method::POST, &path, resource.kind(), None), answer, &self.inner.session)
    }

    /// The error of an answer to a PUT.
    pub(crate) fn not_replaced(&self, resource: &Resource, answer: &Answer) -> Error {
        let path = resource.item_path().unwrap_or_default();
        refusal::of(&call(Method::PUT, &path, resource.kind(), None), answer, &self.inner.session)
    }

    /// The error of an answer to a GET.
    pub(crate) fn not_read(&self, path: &str, kind: Kind, answer: &Answer) -> Error {
        refusal::of(&call(Method::GET, path, kind, None), answer, &self.inner.session)
    }
}

/// A request. MidoNet wants the media type of what is sent, and to GET exactly one of what is to be had.
pub(crate) fn call(method: Method, path: &str, kind: Kind, body: Option<Bytes>) -> Call<'_> {
    let media_type = (body.is_some() || method == Method::GET).then(|| kind.media_type());
    Call { method, path, resource: kind.name(), media_type, body }
}

/// A resource lacks what its path is made of.
pub(crate) fn incomplete(resource: &Resource, method: &'static str) -> Error {
    Error {
        class: Class::Invalid,
        method,
        path: "(none)".into(),
        status: None,
        problem: format!("this {} has no id, or not the parent that it needs", resource.kind()),
        remedy: "correct the Translation that has it".into(),
    }
}

/// What is sent.
fn json(resource: &Resource, position: Option<u64>) -> Bytes {
    // Bodies have string keys alone: this does not fail.
    let mut value = serde_json::to_value(&resource.body).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        if let Body::PortLink(_) = resource.body {
            // With it, even null, MidoNet answers 500 and does not link the ports.
            fields.remove("portId");
        }
        if let Some(position) = position {
            fields.insert("position".into(), position.into());
        }
    }
    value.to_string().into()
}
