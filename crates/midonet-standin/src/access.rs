//! Who may use the API: login, tokens and their end.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::json;
use crate::message::{Request, Response};
use crate::random::Random;
use crate::types::vendor;

/// Whom the API lets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody: tokens are given and not looked at. MidoNet does so unless something else is configured.
    #[default]
    Open,
    /// Who has a token, which this account gets.
    Tokens {
        /// The user's name.
        user: String,
        /// The user's password.
        password: String,
        /// What the header `X-Auth-Project` has to say, if it matters.
        project: Option<String>,
        /// How long a token is good, in seconds.
        lifetime: u64,
    },
}

/// The guard, with the tokens that were given and when they end, in seconds since 1970.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    pub(crate) access: Access,
    pub(crate) tokens: BTreeMap<String, u64>,
}

impl Guard {
    /// Refuses a request without a good token.
    pub(crate) fn check(&self, request: &Request) -> Result<(), Response> {
        if self.access == Access::Open {
            return Ok(());
        }
        let until = request.header("x-auth-token").and_then(|token| self.tokens.get(token));
        match until {
            Some(until) if request.now < *until => Ok(()),
            _ => Err(Response::error(401, "Invalid token")),
        }
    }

    /// Gives a token.
    pub(crate) fn login(&mut self, request: &Request, random: &mut Random) -> Result<Response, Response> {
        let (given_user, given_password) = credentials(request)?;
        let (token, expires) = match &self.access {
            Access::Open => ("00000000".to_owned(), None),
            Access::Tokens { user, password, project, lifetime } => {
                let in_project =
                    project.as_deref().is_none_or(|name| request.header("x-auth-project") == Some(name));
                if (&given_user, &given_password) != (user, password) || !in_project {
                    return Err(refused("Authentication error"));
                }
                let token = format!("{:016x}{:016x}", random.next(), random.next());
                let until = request.now.saturating_add(*lifetime);
                self.tokens.insert(token.clone(), until);
                (token, Some(as_date(until)))
            }
        };
        let (key, until) = (Value::from(token.as_str()), Value::from(expires.as_deref()));
        let mut response = Response::ok(
            format!("{};charset=utf-8", vendor("Token-v1")),
            json::object([("key", &key), ("expires", &until)]),
        );
        let ends = expires.map(|expires| format!("; Expires={expires}")).unwrap_or_default();
        response.headers.push(("set-cookie", format!("sessionId={token}{ends}")));
        Ok(response)
    }
}

/// The user and password of Basic authentication.
fn credentials(request: &Request) -> Result<(String, String), Response> {
    let header = request.header("authorization").filter(|header| !header.is_empty());
    let header = header.ok_or_else(|| refused("Authorization header is not set."))?;
    let encoded = match header.split_at_checked(6) {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic ") => encoded,
        _ => return Err(refused("Authorization header does not contain Basic.")),
    };
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().map(|text| text.split(':').collect::<Vec<_>>()).as_deref() {
        Some([user, password]) if !password.is_empty() => Ok(((*user).into(), (*password).into())),
        _ => Err(refused("Authorization header is not valid")),
    }
}

fn refused(message: &str) -> Response {
    let mut response = Response::error(401, message);
    response.headers.push(("www-authenticate", "Basic  realm=\"BASIC_AUTH_REALM\"".into()));
    response
}

/// A time as tokens have it: `Mon, 23-11-2026 23:56:57 UTC`.
fn as_date(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let text = humantime::format_rfc3339_seconds(at).to_string();
    let (date, time) = text.split_once('T').unwrap_or_default();
    let date: Vec<_> = date.rsplit('-').collect();
    // 1970 began on a Thursday.
    let day = match (seconds / 86400) % 7 {
        0 => "Thu",
        1 => "Fri",
        2 => "Sat",
        3 => "Sun",
        4 => "Mon",
        5 => "Tue",
        _ => "Wed",
    };
    format!("{day}, {} {} UTC", date.join("-"), time.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let access =
            Access::Tokens { user: "admin".into(), password: "secret".into(), project: None, lifetime: 60 };
        Guard { access, ..Guard::default() }
    }

    fn login(guard: &mut Guard, header: &str) -> Result<Response, Response> {
        let mut request = Request::new("POST", "/login").with_header("authorization", header);
        request.now = 1_795_478_217 - 60;
        guard.login(&request, &mut Random::new(1))
    }

    #[test]
    fn a_token_is_good_until_it_ends() {
        let mut guard = guard();
        let given = login(&mut guard, &format!("basic {}", STANDARD.encode("admin:secret"))).unwrap();
        let body: Value = serde_json::from_str(&given.body).unwrap();
        assert_eq!(body["expires"], "Mon, 23-11-2026 23:56:57 UTC");
        let mut request =
            Request::new("GET", "/hosts").with_header("x-auth-token", body["key"].as_str().unwrap());
        request.now = 1_795_478_216;
        assert_eq!(guard.check(&request), Ok(()));
        request.now += 1;
        let refused = guard.check(&request).unwrap_err();
        assert_eq!(refused.body, r#"{"message":"Invalid token","code":401}"#);
    }

    #[test]
    fn who_is_not_let_in() {
        for header in ["Bearer x", "Basic ???", "", &format!("Basic {}", STANDARD.encode("admin:wrong"))] {
            let refused = login(&mut guard(), header).unwrap_err();
            assert_eq!((refused.status, refused.headers.len()), (401, 1), "{header}");
        }
    }
}
