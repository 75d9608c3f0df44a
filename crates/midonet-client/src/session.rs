//! The login: one at a time for all requests, when MidoNet asks for it and before its token ends.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::time::{Duration, Instant};

use crate::error::Error;
use crate::refusal::Secrets;
use crate::transport::{Call, Transport};
use crate::{Options, OptionsError, refusal};

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const PROJECT: HeaderName = HeaderName::from_static("x-auth-project");

/// A token is renewed so long before it ends, or when a quarter of its time is left, if that is less.
const BEFORE: Duration = Duration::from_secs(60);

/// A token that a login gave.
#[derive(Clone)]
pub(crate) struct Token {
    header: HeaderValue,
    /// Counts logins.
    number: u64,
    renew: Option<Instant>,
}

/// Who we are, and the token that we have.
pub(crate) struct Session {
    credentials: HeaderMap,
    password: crate::Password,
    token: Mutex<Option<Token>>,
    /// Held while logging in: how the last login went, and how many there were.
    login: tokio::sync::Mutex<Login>,
}

#[derive(Default)]
struct Login {
    tries: u64,
    ended: Option<Instant>,
    failure: Option<Error>,
}

/// The answer to a login. Other fields are of no use.
#[derive(Deserialize)]
struct Granted {
    key: String,
    expires: Option<String>,
}

impl Session {
    pub(crate) fn new(options: &Options) -> Result<Self, OptionsError> {
        let basic = STANDARD.encode(format!("{}:{}", options.user, options.password.reveal()));
        let mut basic = HeaderValue::try_from(format!("Basic {basic}"))
            .map_err(|_| OptionsError::Header("user or password"))?;
        basic.set_sensitive(true);
        if options.user.contains(':') {
            return Err(OptionsError::Header("user"));
        }
        let project = HeaderValue::try_from(&options.project).map_err(|_| OptionsError::Header("project"))?;
        let credentials = HeaderMap::from_iter([(AUTHORIZATION, basic), (PROJECT, project)]);
        let password = options.password.clone();
        Ok(Self { credentials, password, token: Mutex::default(), login: tokio::sync::Mutex::default() })
    }

    /// The token to send, if there is one. One that ends soon is renewed; if that fails, it goes on as long as MidoNet
    /// takes it.
    pub(crate) async fn token(&self, transport: &Transport, sent: &mut usize) -> Option<Token> {
        let token = self.held().clone()?;
        if token.renew.is_none_or(|at| Instant::now() < at) {
            return Some(token);
        }
        match self.renew(transport, Some(&token), sent).await {
            Ok(new) => Some(new),
            Err(error) => {
                tracing::warn!("MidoNet's token is not renewed: {error}");
                if let Some(held) = self.held().as_mut().filter(|held| held.number == token.number) {
                    held.renew = None;
                }
                Some(token)
            }
        }
    }

    /// Another token than this one. Whoever waited for a login of somebody else's takes what came of it.
    ///
    /// # Errors
    /// MidoNet does not accept the credentials or gives no answer.
    pub(crate) async fn renew(
        &self,
        transport: &Transport,
        old: Option<&Token>,
        sent: &mut usize,
    ) -> Result<Token, Error> {
        let newer = |held: &Token| old.is_none_or(|old| held.number > old.number);
        let began = Instant::now();
        let mut login = self.login.lock().await;
        if let Some(held) = self.held().clone().filter(newer) {
            return Ok(held);
        }
        if let Some(error) = login.failure.as_ref().filter(|_| login.ended.is_some_and(|at| at > began)) {
            return Err(error.clone());
        }
        let result = self.log_in(transport, login.tries + 1, sent).await;
        login.tries += 1;
        login.ended = Some(Instant::now());
        login.failure = result.as_ref().err().cloned();
        if let Ok(token) = &result {
            *self.held() = Some(token.clone());
            tracing::info!("logged in to MidoNet");
        }
        result
    }

    async fn log_in(&self, transport: &Transport, number: u64, sent: &mut usize) -> Result<Token, Error> {
        let call =
            Call { method: Method::POST, path: "/login", resource: "login", media_type: None, body: None };
        let answer = match transport.send(&call, &self.credentials, sent).await {
            Ok(answer) => answer,
            Err(cause) => return Err(refusal::no_answer(&call, &cause)),
        };
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(refusal::credentials(&call, &answer, self));
        }
        if !answer.status.is_success() {
            return Err(refusal::of(&call, &answer, self));
        }
        // What the answer is instead is not said: it may have the token in it.
        let granted: Option<Granted> = serde_json::from_slice(&answer.body).ok();
        let header = granted.as_ref().and_then(|granted| HeaderValue::try_from(&granted.key).ok());
        let (Some(granted), Some(mut header)) = (granted, header) else {
            return Err(refusal::unusable(&call, &answer, "is no token"));
        };
        header.set_sensitive(true);
        Ok(Token { header, number, renew: granted.expires.as_deref().and_then(renewal) })
    }

    fn held(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Secrets for Session {
    fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let token = self.held().clone();
        let basic = self.credentials.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let secrets = [
            basic.and_then(|header| header.strip_prefix("Basic ")),
            Some(self.password.reveal()),
            token.as_ref().and_then(|token| token.header.to_str().ok()),
        ];
        for secret in secrets.into_iter().flatten().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "(not shown)");
        }
        text
    }
}

impl Token {
    /// The headers of a request with this token.
    pub(crate) fn headers(token: Option<&Self>) -> HeaderMap {
        token.map(|token| (TOKEN, token.header.clone())).into_iter().collect()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Session").field("logged_in", &self.held().is_some()).finish_non_exhaustive()
    }
}

/// When to renew a token that ends at this time. A token that ends at a time that cannot be read, or that has passed by
/// this machine's clock, is renewed when MidoNet says so.
fn renewal(expires: &str) -> Option<Instant> {
    let left = crate::expiry::parse(expires)?.duration_since(SystemTime::now()).ok()?;
    Instant::now().checked_add(left - BEFORE.min(left / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_a_minute_before_its_end_or_earlier() {
        assert_eq!(renewal("Mon, 23-11-1998 23:56:57 UTC"), None);
        assert_eq!(renewal("soon"), None);
        let far = renewal("Fri, 31-12-9998 23:59:59 UTC");
        assert!(far.is_none_or(|at| at > Instant::now()));
    }
}
