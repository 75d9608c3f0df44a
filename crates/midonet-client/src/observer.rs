use std::fmt::Debug;
use std::time::Duration;

/// Is told of every request, logins included.
///
/// `method` is in lower case. `resource` is a kind's name ([`midonet::Kind::name`]), `Host`, or `login`.
pub trait Observer: Debug + Send + Sync {
    /// MidoNet answered with this HTTP status. `took` is the time from sending to the end of the answer.
    fn answered(&self, method: &'static str, resource: &'static str, code: u16, took: Duration);

    /// There was no answer, or one that could not be read to its end.
    fn failed(&self, method: &'static str, resource: &'static str);
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Observer for Nobody {
    fn answered(&self, _: &'static str, _: &'static str, _: u16, _: Duration) {}

    fn failed(&self, _: &'static str, _: &'static str) {}
}
