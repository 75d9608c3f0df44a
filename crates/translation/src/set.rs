use midonet::Resource;

use crate::{Object, Owner, Problem, Reason, Translation, translation_name};

/// The Translations of one owner while they are made, and what was found wrong.
pub(crate) struct Set {
    pub(crate) owner: Owner,
    pub(crate) translations: Vec<Translation>,
    pub(crate) problems: Vec<Problem>,
}

impl Set {
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner, translations: Vec::new(), problems: Vec::new() }
    }

    /// One more Translation. If no Translation can have the name, it is told instead.
    pub(crate) fn add(&mut self, kind: &str, name: &str, resources: Vec<Resource>) {
        match translation_name(kind, name) {
            Ok(name) => {
                let namespace = self.owner.namespace().to_owned();
                self.translations.push(Translation { namespace, name, owner: self.owner.clone(), resources });
            }
            Err(error) => {
                self.problem(Reason::InvalidName, format!("{error}: MidoNet does not get this part of it"));
            }
        }
    }

    /// Something is wrong with the owner.
    pub(crate) fn problem(&mut self, reason: Reason, message: String) {
        // Globals are made of nothing that could be wrong.
        if let Owner::Object(object) = &self.owner {
            self.problem_of(object.clone(), reason, message);
        }
    }

    /// Something is wrong with an object that the owner's Translations are made of.
    pub(crate) fn problem_of(&mut self, object: Object, reason: Reason, message: String) {
        self.problems.push(Problem { object, reason, message });
    }

    /// IPv6 addresses of the owner were passed over.
    pub(crate) fn passed_over(&mut self, what: &str, addresses: &[String]) {
        if !addresses.is_empty() {
            let addresses = addresses.join(", ");
            self.problem(Reason::Ipv6PassedOver, format!("{what} {addresses}: MidoNet is given IPv4 alone"));
        }
    }
}
