//! What an answer that is no success means.

use http::StatusCode;
use serde::Deserialize;

use crate::cause::Cause;
use crate::error::{Class, Error, quote};
use crate::transport::{Answer, Call};

/// MidoNet's explanation (media type Error-v1).
#[derive(Deserialize)]
struct Explanation {
    message: Option<String>,
    #[serde(default)]
    violations: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    #[serde(default)]
    property: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// There was no answer.
pub(crate) fn no_answer(call: &Call<'_>, cause: &Cause) -> Error {
    let class = match cause {
        Cause::TooLong(_) | Cause::Request(_) => Class::Failed,
        _ => Class::Unreachable,
    };
    error(call, class, None, format!("no answer from MidoNet: {cause}"), cause.remedy())
}

/// What no message may have.
pub(crate) trait Secrets {
    /// The text without them.
    fn redact(&self, text: &str) -> String;
}

/// The answer says that MidoNet does not do it.
pub(crate) fn of(call: &Call<'_>, answer: &Answer, secrets: &dyn Secrets) -> Error {
    let (class, remedy) = meaning(call, answer);
    let problem = said(answer, secrets);
    error(call, class, Some(answer.status), problem, remedy)
}

/// MidoNet does not accept who we are.
pub(crate) fn credentials(call: &Call<'_>, answer: &Answer, secrets: &dyn Secrets) -> Error {
    let remedy = "correct the user, password and project for MidoNet";
    error(call, Class::Credentials, Some(answer.status), said(answer, secrets), remedy)
}

/// The answer is a success and cannot be used. `why` continues "the answer".
pub(crate) fn unusable(call: &Call<'_>, answer: &Answer, why: &str) -> Error {
    let problem = format!("the answer of MidoNet {why}");
    error(call, Class::Failed, Some(answer.status), problem, "see that the URL is that of MidoNet's REST API")
}

/// An error of our own making.
pub(crate) fn error(
    call: &Call<'_>,
    class: Class,
    status: Option<StatusCode>,
    problem: String,
    remedy: &str,
) -> Error {
    let status = status.map(|status| status.as_u16());
    let path = call.path.to_owned();
    Error { class, method: call.method(), path, status, problem, remedy: remedy.to_owned() }
}

fn meaning(call: &Call<'_>, answer: &Answer) -> (Class, &'static str) {
    match answer.status.as_u16() {
        400 if names_another(call.resource, answer) => (
            Class::Missing,
            "it is tried again: the port that it names has to be made first, on the same router or bridge",
        ),
        400 => (Class::Invalid, "correct the object that this resource is made from"),
        401 => (Class::Credentials, "correct the user, password and project for MidoNet"),
        403 => (Class::Failed, "give MidoNet's user the role of an administrator, if it has not got it"),
        404 if answer.body.is_empty() || explanation(answer).is_none() => (
            Class::Missing,
            "it is tried again; see that MidoNet's URL ends in /midonet-api and that its parent exists",
        ),
        404 => (Class::Missing, "it is tried again: what is missing has to be made first"),
        405 | 406 | 415 => (Class::Failed, "see that the URL is that of the REST API of MidoNet 5"),
        409 => (Class::Conflict, "it is tried again; remove from MidoNet what is in the way"),
        502..=504 => (Class::Unreachable, "see the log of MidoNet's API server and of what stands before it"),
        _ => (Class::Failed, "it is tried again; see the log of MidoNet's API server"),
    }
}

/// MidoNet answers 400, and not 404, when the port that a route or an entry of a MAC table names is not there, or is of
/// another device. In other cases it tells which fields it does not like.
fn names_another(resource: &str, answer: &Answer) -> bool {
    let kinds = [midonet::Kind::Route.name(), midonet::Kind::MacPort.name()];
    kinds.contains(&resource)
        && explanation(answer).is_some_and(|explanation| explanation.violations.is_empty())
}

fn explanation(answer: &Answer) -> Option<Explanation> {
    serde_json::from_slice(&answer.body).ok()
}

/// Status and explanation on one line.
fn said(answer: &Answer, secrets: &dyn Secrets) -> String {
    let status = answer.status;
    let mut text = format!("MidoNet answers {}", status.as_u16());
    if let Some(reason) = status.canonical_reason() {
        text = format!("{text} {reason}");
    }
    let why = match explanation(answer) {
        Some(Explanation { message, violations }) => {
            let violations = violations.iter().map(|violation| {
                let property = violation.property.as_deref().unwrap_or_default();
                format!(" {property}: {}", violation.message.as_deref().unwrap_or_default())
            });
            message.unwrap_or_default() + &violations.collect::<Vec<_>>().join(",")
        }
        None => plain(&String::from_utf8_lossy(&answer.body)),
    };
    let why = quote(&secrets.redact(&why));
    if why.is_empty() { text } else { format!("{text}: {why}") }
}

/// The words of an HTML page; another text as it is. Of a page of Java's, those from the cause on.
fn plain(page: &str) -> String {
    if !page.trim_start().starts_with('<') {
        return page.to_owned();
    }
    let mut words = String::new();
    let mut tag = false;
    for c in page.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => {
                tag = false;
                words.push(' ');
            }
            c if !tag => words.push(c),
            _ => {}
        }
    }
    match words.split_once("Caused by:") {
        Some((_, cause)) if !cause.trim().is_empty() => cause.to_owned(),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    struct Known;

    impl Secrets for Known {
        fn redact(&self, text: &str) -> String {
            text.replace("s3cret", "(not shown)")
        }
    }

    fn text(resource: &'static str, status: u16, body: &str) -> (Class, String) {
        let call = Call { method: Method::POST, path: "/x", resource, media_type: None, body: None };
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), body: body.to_owned().into() };
        let error = of(&call, &answer, &Known);
        (error.class(), error.to_string())
    }

    #[test]
    fn midonets_message_is_told() {
        let (class, said) = text("Port", 404, r#"{"message":"There is no Network with ID 1.","code":404}"#);
        assert_eq!(class, Class::Missing);
        assert_eq!(
            said,
            "POST /x: MidoNet answers 404 Not Found: There is no Network with ID 1.; it is tried again: what is \
             missing has to be made first"
        );
        let violation = r#"{"message":"Validation error(s) found","code":400,"violations":[{"property":"srcNetworkAddr","message":"may not be null"}]}"#;
        let (class, said) = text("Route", 400, violation);
        assert_eq!(class, Class::Invalid);
        assert!(said.contains("Validation error(s) found srcNetworkAddr: may not be null; "), "{said}");
    }

    #[test]
    fn a_port_that_is_missing_is_no_wrong_content() {
        let message = r#"{"message":"This type of route requires a next hop port","code":400}"#;
        assert_eq!(text("Route", 400, message).0, Class::Missing);
        assert_eq!(text("MACPort", 400, message).0, Class::Missing);
        assert_eq!(text("Rule", 400, message).0, Class::Invalid);
    }

    #[test]
    fn a_page_of_html_becomes_one_short_line_without_secrets() {
        let page = format!(
            "<html>\n<title>Error 500</title><body><h2>HTTP ERROR 500</h2>Caused by:<pre>javax.Servlet: \n {}s3cret {}",
            "a\tb ",
            "x".repeat(100_000)
        );
        let (class, said) = text("MACPort", 500, &page);
        assert_eq!(class, Class::Failed);
        assert!(said.contains("500 Internal Server Error: javax.Servlet: a b (not shown) xxx"), "{said}");
        assert!(said.len() < 500 && !said.contains('\n') && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn every_status_has_a_class() {
        for (status, class) in [
            (401, Class::Credentials),
            (403, Class::Failed),
            (405, Class::Failed),
            (409, Class::Conflict),
            (500, Class::Failed),
            (502, Class::Unreachable),
            (503, Class::Unreachable),
            (504, Class::Unreachable),
            (302, Class::Failed),
        ] {
            assert_eq!(text("Port", status, "").0, class, "{status}");
        }
    }
}
