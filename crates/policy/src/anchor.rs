//! Where selectors and Pods meet, so that not each of one is compared with each of the other: every selector hangs on a
//! few anchors, and every kind of Pod that it selects passes at least one of them.

use crate::kind::KindKey;
use crate::vocabulary::{OTHER, Selects, Wanted};

/// What a selector asks for, and a Pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Anchor {
    /// Nothing that there is an anchor for.
    Any,
    /// A namespace, by the number of its name.
    Space(usize),
    /// A label of the namespace.
    SpaceLabel(usize, usize),
    /// A label of the namespace, whatever its value.
    SpaceKey(usize),
    /// A label of the Pod.
    Label(usize, usize),
    /// A label of the Pod, whatever its value.
    Key(usize),
}

/// Where a selector of Pods hangs. `space`: it is about this namespace; `spaces`: about those with these labels.
pub(crate) fn of_selector(space: Option<usize>, spaces: Option<&Selects>, pods: &Selects) -> Vec<Anchor> {
    if let Some((key, values)) = fewest_values(pods) {
        return values.iter().map(|value| Anchor::Label(key, *value)).collect();
    }
    if let Some(key) = existing(pods) {
        return vec![Anchor::Key(key)];
    }
    if let Some(space) = space {
        return vec![Anchor::Space(space)];
    }
    let Some(spaces) = spaces else { return vec![Anchor::Any] };
    if let Some((key, values)) = fewest_values(spaces) {
        return values.iter().map(|value| Anchor::SpaceLabel(key, *value)).collect();
    }
    vec![existing(spaces).map_or(Anchor::Any, Anchor::SpaceKey)]
}

/// The anchors that a kind of Pod passes.
pub(crate) fn of_kind(kind: &KindKey) -> Vec<Anchor> {
    let mut all = vec![Anchor::Any];
    let space = kind.space.name;
    all.extend(space.map(Anchor::Space));
    for (key, value) in &kind.space.labels {
        all.push(Anchor::SpaceKey(*key));
        if *value != OTHER {
            all.push(Anchor::SpaceLabel(*key, *value));
        }
    }
    for (key, value) in &kind.labels {
        all.push(Anchor::Key(*key));
        if *value != OTHER {
            all.push(Anchor::Label(*key, *value));
        }
    }
    all
}

fn fewest_values(selector: &Selects) -> Option<(usize, &[usize])> {
    let values = selector.wanted().iter().filter_map(|wanted| match wanted {
        Wanted::In(key, values) => Some((*key, &**values)),
        _ => None,
    });
    values.min_by_key(|(_, values)| values.len())
}

fn existing(selector: &Selects) -> Option<usize> {
    selector.wanted().iter().find_map(|wanted| match wanted {
        Wanted::Exists(key) => Some(*key),
        _ => None,
    })
}
