use serde_json::Value;

use crate::json;

/// A request for the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, and so on.
    pub method: String,
    /// The path below the API's base URL, with its leading slash.
    pub path: String,
    /// What stands behind the question mark, as it is sent.
    pub query: String,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The header `Accept`.
    pub accept: Option<String>,
    /// Other headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// What URLs in answers begin with: the API's base URL without a slash at its end.
    pub base: String,
    /// When it arrived, in seconds since 1970 in UTC: tokens expire.
    pub now: u64,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self { method: method.into(), path: path.into(), query: query.into(), ..Self::default() }
    }

    /// The same with this header `Accept`.
    #[must_use]
    pub fn accepting(self, accept: &str) -> Self {
        Self { accept: Some(accept.into()), ..self }
    }

    /// The same with a body of this media type.
    #[must_use]
    pub fn with_body(self, content_type: &str, body: &str) -> Self {
        Self { content_type: Some(content_type.into()), body: body.into(), ..self }
    }

    /// The same with one more header, whose name is in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first parameter of this name in the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|part| part.split_once('='))
            .find_map(|(known, value)| (known == name).then_some(value))
    }
}

/// What the API answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The header `Content-Type`, none without a body.
    pub content_type: Option<String>,
    /// The header `Location`, of what was made.
    pub location: Option<String>,
    /// Other headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// What is refused is the error, so that a handler can use `?`.
pub(crate) type Answer = Result<Response, Response>;

impl Response {
    /// A status and nothing else.
    pub fn bodiless(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// 204 No Content.
    pub(crate) fn no_content() -> Self {
        Self::bodiless(204)
    }

    /// 201 Created, at this URL.
    pub(crate) fn created(location: Option<String>) -> Self {
        Self { location, ..Self::bodiless(201) }
    }

    /// 200 OK with JSON text of this media type.
    pub(crate) fn ok(content_type: String, body: String) -> Self {
        Self { status: 200, content_type: Some(content_type), body, ..Self::default() }
    }

    /// An error as the API tells it: `Error-v1` with the message and the status.
    pub fn error(status: u16, message: &str) -> Self {
        let body = json::object([("message", &Value::from(message)), ("code", &Value::from(status))]);
        Self { status, ..Self::ok(error_type(), body) }
    }

    /// A body whose fields are refused: each with its property and what is wrong with it.
    pub(crate) fn violations(violations: &[(&str, String)]) -> Self {
        let each: Vec<_> = violations
            .iter()
            .map(|(property, message)| {
                let (property, message) = (Value::from(*property), Value::from(message.as_str()));
                json::object([("property", &property), ("message", &message)])
            })
            .collect();
        let body = format!(
            r#"{{"message":"Validation error(s) found","code":400,"violations":[{}]}}"#,
            each.join(",")
        );
        Self { status: 400, ..Self::ok(error_type(), body) }
    }

    /// An exception that nothing caught: status 500 and a page of HTML.
    pub fn exception(cause: &str) -> Self {
        let cause =
            cause.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#39;");
        let body = format!(
            "<html>\n<head>\n<title>Error 500 {cause}</title>\n</head>\n<body><h2>HTTP ERROR 500</h2>\n\
             <p>Reason: <pre>    {cause}</pre></p>\n</body>\n</html>\n"
        );
        Self { status: 500, ..Self::ok("text/html;charset=iso-8859-1".into(), body) }
    }

    /// There is no object of this kind with that id.
    pub(crate) fn missing(kind: &str, id: impl std::fmt::Display) -> Self {
        Self::error(404, &format!("There is no {kind} with ID {id}."))
    }

    /// There is an object of this kind with that id already.
    pub(crate) fn taken(kind: &str, id: impl std::fmt::Display) -> Self {
        Self::error(409, &format!("A(n) {kind} with ID {id} already exists."))
    }
}

fn error_type() -> String {
    crate::types::vendor("Error-v1")
}
