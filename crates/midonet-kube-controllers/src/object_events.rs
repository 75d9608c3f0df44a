//! What Events say, with the reasons and texts of midonet-kubernetes.

use objects::{Key, ObjectEvent};
use translation::{API_VERSION, KIND, Object, Owner, Problem};

use crate::kinds::Stored;
use crate::owner::object_key;

/// Something that happened to an object.
pub fn of_object(
    object: &Object,
    warning: bool,
    action: &'static str,
    reason: &'static str,
    note: String,
) -> ObjectEvent {
    ObjectEvent {
        api_version: object.kind.api_version(),
        kind: object.kind.name(),
        key: object_key(&object.key),
        uid: Some(object.uid.clone()),
        warning,
        action,
        reason,
        note,
    }
}

/// Something that happened to an owner's Translation. Those of the whole cluster have no object that an Event could be about.
pub fn of_owner(owner: &Owner, reason: &'static str, key: &Key, uid: &str, did: &str) -> Option<ObjectEvent> {
    let Owner::Object(object) = owner else { return None };
    let note = format!("Translation {key} UID {uid} {did}");
    Some(of_object(object, false, "Translate", reason, note))
}

/// Something that happened to a Translation.
pub fn of_translation(stored: &Stored, warning: bool, reason: &'static str, note: String) -> ObjectEvent {
    ObjectEvent {
        api_version: API_VERSION,
        kind: KIND,
        key: stored.key.clone(),
        uid: Some(stored.uid.clone()),
        warning,
        action: "Push",
        reason,
        note,
    }
}

/// Something is wrong with an object.
pub fn of_problem(problem: &Problem) -> ObjectEvent {
    of_object(&problem.object, true, "Translate", problem.reason.name(), problem.message.clone())
}
