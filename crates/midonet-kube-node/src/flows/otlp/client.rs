//! Requests to the collector.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::time::timeout;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read of an answer at most, in bytes.
const ANSWER: usize = 64 << 10;

/// The longest pause that a collector can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// Whether it may be taken later.
    pub(super) again: bool,
    /// How long the collector wants to be left alone.
    pub(super) after: Option<Duration>,
}

/// A collector.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Uri,
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// # Errors
    /// Whom to trust is not known.
    pub(super) fn new(endpoint: &Uri) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if endpoint.scheme_str() == Some("https") {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "this system has no certificates of authorities: SSL_CERT_FILE names a file of them"
                        .to_owned(),
                );
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(PATIENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self {
            endpoint: endpoint.clone(),
            http: HttpClient::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Sends a batch. Returns how many of its records the collector rejected.
    ///
    /// # Errors
    /// None was taken.
    pub(super) async fn post(&self, body: Bytes) -> Result<usize, Refusal> {
        let lost = |why: String| Refusal { why, again: true, after: None };
        let request =
            Request::post(&self.endpoint).header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let request = request.map_err(|error| Refusal { again: false, ..lost(error.to_string()) })?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| lost(cause(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await;
            let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            if head.status.is_success() {
                return Ok(rejected(&body));
            }
            let after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Refusal {
                why: format!("it answers {}", head.status),
                again: is_temporary(head.status),
                after: after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE)),
            })
        };
        let late = |_| lost(format!("it does not answer within {PATIENCE:?}"));
        timeout(PATIENCE, exchange).await.map_err(late)?
    }
}

/// The statuses after which the specification lets a request be sent again.
fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How many records an `ExportLogsServiceResponse` says were rejected. 64-bit numbers are strings there.
fn rejected(body: &[u8]) -> usize {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let count = answer.pointer("/partialSuccess/rejectedLogRecords");
    let number = count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

/// The innermost error: the outer ones only say that a request failed.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_are_counted() {
        for (body, count) in [
            ("", 0),
            ("{}", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"no"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedLogRecords":2}}"#, 2),
            (r#"{"partialSuccess":{"rejectedLogRecords":-2}}"#, 0),
        ] {
            assert_eq!(rejected(body.as_bytes()), count, "{body}");
        }
    }
}
