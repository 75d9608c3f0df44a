//! One request and its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use crate::cause::{Cause, cause};
use crate::{Observer, Options, OptionsError, base, tls};

/// MidoNet closes a connection that was idle for 30 s. This is less by what a packet may take.
const IDLE: Duration = Duration::from_secs(20);

/// No answer that is needed as a whole is longer, in bytes: a list of 5,000 hosts with their interfaces is shorter.
const LONGEST: usize = 64 << 20;

/// So much is read of what MidoNet says of an error, in bytes.
const EXPLANATION: usize = 64 << 10;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Below the base URL.
    pub(crate) path: &'a str,
    /// For metrics.
    pub(crate) resource: &'static str,
    /// The media type of the body, or of a GET the one to be had.
    pub(crate) media_type: Option<&'static str>,
    pub(crate) body: Option<Bytes>,
}

impl Call<'_> {
    pub(crate) fn method(&self) -> &'static str {
        match self.method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            _ => "DELETE",
        }
    }

    /// In lower case, for metrics.
    fn label(&self) -> &'static str {
        match self.method {
            Method::GET => "get",
            Method::POST => "post",
            Method::PUT => "put",
            _ => "delete",
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Of an error, cut off where it is too long.
    pub(crate) body: Bytes,
}

/// Sends requests.
pub(crate) struct Transport {
    http: HttpClient<TimeoutConnector<HttpsConnector<HttpConnector>>, Full<Bytes>>,
    pub(crate) base: String,
    deadline: Duration,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Transport {
    pub(crate) fn new(options: &Options, observer: Arc<dyn Observer>) -> Result<Self, OptionsError> {
        let (base, secure) = base::parse(&options.url)?;
        // Without TLS the certificates do not matter.
        let trust = if secure { &options.trust } else { &crate::Trust::Anybody };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls::config(trust)?);
        let mut connector = TimeoutConnector::new(tls.https_or_http().enable_http1().wrap_connector(tcp));
        connector.set_connect_timeout(Some(options.deadlines.connect));
        let http = HttpClient::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(options.limits.concurrency.max(1))
            .build(connector);
        Ok(Self { http, base, deadline: options.deadlines.request, observer })
    }

    /// Sends a request. One whose connection was lost is sent again, once: the server may have closed it before it knew
    /// of the request. That is safe with MidoNet, where resources have their ids from the client: whoever creates one
    /// twice is told that it exists. `sent` counts how often it was sent.
    pub(crate) async fn send(
        &self,
        call: &Call<'_>,
        headers: &HeaderMap,
        sent: &mut usize,
    ) -> Result<Answer, Cause> {
        let end = Instant::now() + self.deadline;
        match self.once(call, headers, end, sent).await {
            Err(Cause::Lost(why)) => {
                tracing::debug!(method = call.method(), path = call.path, why, "sending once more");
                self.once(call, headers, end, sent).await
            }
            result => result,
        }
    }

    async fn once(
        &self,
        call: &Call<'_>,
        headers: &HeaderMap,
        end: Instant,
        sent: &mut usize,
    ) -> Result<Answer, Cause> {
        *sent += 1;
        let began = Instant::now();
        let answer = match timeout_at(end, self.exchange(call, headers)).await {
            Ok(answer) => answer,
            Err(_) => Err(Cause::NoAnswer(self.deadline)),
        };
        match &answer {
            Ok(answer) => {
                let (code, took) = (answer.status.as_u16(), began.elapsed());
                self.observer.answered(call.label(), call.resource, code, took);
                tracing::debug!(method = call.method(), path = call.path, code, ?took, "answered");
            }
            Err(cause) => {
                self.observer.failed(call.label(), call.resource);
                tracing::debug!(method = call.method(), path = call.path, %cause, "no answer");
            }
        }
        answer
    }

    async fn exchange(&self, call: &Call<'_>, headers: &HeaderMap) -> Result<Answer, Cause> {
        let mut request = Request::new(Full::new(call.body.clone().unwrap_or_default()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = format!("{}{}", self.base, call.path)
            .parse()
            .map_err(|_| Cause::Request("its path is no URL's"))?;
        *request.headers_mut() = headers.clone();
        if let Some(media_type) = call.media_type {
            let name = if call.method == Method::GET { ACCEPT } else { CONTENT_TYPE };
            request.headers_mut().insert(name, HeaderValue::from_static(media_type));
        }
        let response = self.http.request(request).await.map_err(|error| cause(&error, error.is_connect()))?;
        let (head, mut body) = response.into_parts();
        let whole = head.status.is_success();
        let limit = if whole { LONGEST } else { EXPLANATION };
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| cause(&error, false))?;
            let data = frame.data_ref().map(AsRef::as_ref).unwrap_or_default();
            let space = limit - bytes.len();
            bytes.extend_from_slice(data.get(..space).unwrap_or(data));
            if data.len() > space {
                if whole {
                    return Err(Cause::TooLong(limit));
                }
                break;
            }
        }
        Ok(Answer { status: head.status, body: bytes.into() })
    }
}
