/// The media type of plain JSON.
pub(crate) const JSON: &str = "application/json";

/// MidoNet's media type of this name and version.
pub(crate) fn vendor(name: &str) -> String {
    format!("application/vnd.org.midonet.{name}+json")
}
