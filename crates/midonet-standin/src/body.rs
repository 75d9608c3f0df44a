//! Requests' bodies as text.

use serde_json::{Map, Value};

use crate::message::Response;

/// The fields of a request's body.
///
/// # Errors
/// An uncaught exception, as MidoNet answers bodies that are no JSON object.
pub(crate) fn fields(body: &str) -> Result<Map<String, Value>, Response> {
    match serde_json::from_str(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Err(Response::exception("java.lang.NullPointerException")),
        Ok(_) => Err(Response::error(
            400,
            "Can not deserialize instance of an object out of START_ARRAY or VALUE token",
        )),
        Err(_) if body.trim().is_empty() => Err(Response::exception("java.lang.NullPointerException")),
        Err(error) => Err(Response::exception(&format!(
            "javax.servlet.ServletException: com.fasterxml.jackson.core.JsonParseException: {}",
            unexpected(body, &error)
        ))),
    }
}

/// What stands where JSON is broken, in the words of the server's parser.
fn unexpected(body: &str, error: &serde_json::Error) -> String {
    let line = body.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.chars().nth(error.column().saturating_sub(1)) {
        Some(found) if !error.is_eof() => format!(
            "Unexpected character ('{found}' (code {})): was expecting double-quote to start field name",
            u32::from(found)
        ),
        _ => "Unexpected end-of-input within/between Object entries".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object() {
        let says = |body| fields(body).unwrap_err();
        for body in ["", "null", "{", "{b"] {
            assert_eq!((says(body).status, says(body).body.starts_with("<html>")), (500, true), "{body}");
        }
        assert!(
            says("{b")
                .body
                .contains("Unexpected character (&#39;b&#39; (code 98)): was expecting double-quote")
        );
        assert_eq!(says("[]").status, 400);
        assert!(fields("{\"a\": {}}").is_ok());
    }
}
