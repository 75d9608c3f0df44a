use std::time::Duration;

use crate::message::Response;
use crate::random::Random;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is answered with this status, as the real server does, and nothing is done.
    Answer(u16),
    /// The connection is closed, and nothing is done.
    Close,
    /// What is asked for is done; then the connection is closed without an answer.
    CloseAfterwards,
    /// It is dealt with so much later.
    Delay(Duration),
    /// It is never answered.
    Stall,
}

/// Something that goes wrong with some requests. The first fault that fits a request is the one that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    effect: Effect,
    method: Option<String>,
    resource: Option<String>,
    path: Option<String>,
    times: Option<u64>,
    percent: u64,
}

impl Fault {
    /// All requests but logins have it, until the faults are cleared.
    pub fn new(effect: Effect) -> Self {
        Self { effect, method: None, resource: None, path: None, times: None, percent: 100 }
    }

    /// Only those with this method have it.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self { method: Some(method.into()), ..self }
    }

    /// Only those for this resource have it, see [`crate::resource_of`]; `Login` is one.
    #[must_use]
    pub fn resource(self, resource: &str) -> Self {
        Self { resource: Some(resource.into()), ..self }
    }

    /// Only those whose path, below the base URL, begins so have it.
    #[must_use]
    pub fn path(self, beginning: &str) -> Self {
        Self { path: Some(beginning.into()), ..self }
    }

    /// Only the next so many of them have it.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// So many of a hundred of them have it, at random.
    #[must_use]
    pub fn percent(self, percent: u64) -> Self {
        Self { percent, ..self }
    }

    fn fits(&self, method: &str, path: &str, resource: &str) -> bool {
        self.times != Some(0)
            && self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.resource.as_deref().map_or(resource != "Login", |wanted| wanted == resource)
            && self.path.as_deref().is_none_or(|beginning| path.starts_with(beginning))
    }
}

/// The faults that are set.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) set: Vec<Fault>,
    random: Random,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { set: Vec::new(), random: Random::new(seed) }
    }

    /// What goes wrong with this request.
    pub(crate) fn effect(&mut self, method: &str, path: &str, resource: &str) -> Option<Effect> {
        let random = &mut self.random;
        let mut fitting = self.set.iter_mut().filter(|fault| fault.fits(method, path, resource));
        let fault = fitting.find(|fault| random.next() % 100 < fault.percent)?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        Some(fault.effect)
    }
}

/// The answer of a server with this status, in its form.
pub(crate) fn answer(status: u16) -> Response {
    match status {
        401 => Response::error(401, "Invalid token"),
        404 => Response::error(404, "There is no Object with ID 00000000-0000-0000-0000-000000000000."),
        405 | 406 | 415 => Response::bodiless(status),
        409 => Response::error(409, "Conflicting write"),
        500 => Response::exception("javax.servlet.ServletException: java.lang.NullPointerException"),
        503 => Response::error(503, "Resource read timeout"),
        status => Response::error(status, "A fault that was asked for."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_of_what_it_says_and_ends() {
        let mut faults = Faults::new(1);
        faults.set.push(Fault::new(Effect::Close).method("POST").resource("Port").times(2));
        faults.set.push(Fault::new(Effect::Answer(401)).path("/bridges"));
        let mut of = |method, path, resource| faults.effect(method, path, resource);
        assert_eq!(of("GET", "/ports", "Port"), None);
        assert_eq!(of("POST", "/bridges/b/ports", "Port"), Some(Effect::Close));
        assert_eq!(of("POST", "/bridges/b/ports", "Port"), Some(Effect::Close));
        assert_eq!(of("POST", "/bridges/b/ports", "Port"), Some(Effect::Answer(401)));
        assert_eq!(of("POST", "/login", "Login"), None);
    }

    #[test]
    fn some_of_a_hundred() {
        let mut faults = Faults::new(7);
        faults.set.push(Fault::new(Effect::Stall).percent(30));
        let count = (0..10_000).filter(|_| faults.effect("GET", "/hosts", "Host").is_some()).count();
        assert!((2_800..3_200).contains(&count), "{count}");
    }
}
