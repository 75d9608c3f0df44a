//! The selectors of Pods that terms in use have.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use objects::{LabelSelector, Labels};

use crate::anchor::{self, Anchor};
use crate::hash::{Counter, Map, Set};
use crate::kind::KindKey;
use crate::names::Names;
use crate::term::{PodPeer, Spaces, TermId};
use crate::vocabulary::{self, Changed, Pattern, Selects, Vocabulary};

/// The label that every namespace has, with its name.
pub(crate) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// All of them, and the words that they use.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodPeers {
    /// Labels of Pods, for selectors that are about more than one namespace.
    labels: Vocabulary,
    /// Labels of Pods, for selectors that are about this namespace: their words have other numbers in each.
    own_labels: HashMap<Arc<str>, Vocabulary>,
    /// Labels of namespaces.
    pub(crate) space_labels: Vocabulary,
    /// Names of namespaces.
    pub(crate) space_names: Names,
    numbers: HashMap<Arc<PodPeer>, usize>,
    all: Map<usize, Atom>,
    hanging: HashMap<Anchor, Set<usize>>,
    counter: Counter,
    /// Those that are new, or whose terms changed.
    dirty: Set<usize>,
    /// Those that are gone.
    gone: Vec<Atom>,
}

/// A selector of Pods.
#[derive(Debug, Clone)]
struct Atom {
    spaces: Where,
    pods: Selects,
    terms: BTreeSet<TermId>,
}

/// Namespaces, in the vocabulary's numbers.
#[derive(Debug, Clone)]
enum Where {
    Any,
    Named(usize),
    Selected {
        labels: Selects,
        /// It asks for the name only, which is always known.
        by_name: bool,
    },
}

impl Atom {
    fn anchors(&self) -> Vec<Anchor> {
        match &self.spaces {
            Where::Any => anchor::of_selector(None, None, &self.pods),
            Where::Named(name) => anchor::of_selector(Some(*name), None, &self.pods),
            Where::Selected { labels, .. } => anchor::of_selector(None, Some(labels), &self.pods),
        }
    }

    fn matches(&self, kind: &KindKey) -> bool {
        let space = match &self.spaces {
            Where::Any => true,
            Where::Named(name) => kind.space.name == Some(*name),
            Where::Selected { labels, by_name } => {
                (kind.space.known || *by_name) && labels.matches(&kind.space.labels)
            }
        };
        space && self.pods.matches(&kind.labels)
    }
}

/// Whether a selector of namespaces asks for nothing but the name.
pub(crate) fn by_name(selector: &LabelSelector) -> bool {
    selector.0.iter().all(|requirement| *requirement.key == *NAMESPACE_NAME)
}

impl PodPeers {
    /// A term asks for these Pods.
    pub(crate) fn add(&mut self, peer: &PodPeer, term: TermId) {
        let number = match self.numbers.get(peer) {
            Some(number) => *number,
            None => self.create(peer),
        };
        self.dirty.insert(number);
        if let Some(atom) = self.all.get_mut(&number) {
            atom.terms.insert(term);
        }
    }

    fn create(&mut self, peer: &PodPeer) -> usize {
        let Self { counter, .. } = self;
        let spaces = match &peer.spaces {
            Spaces::Any => Where::Any,
            Spaces::Named(name) => Where::Named(self.space_names.learn(name)),
            Spaces::Selected(selector) => Where::Selected {
                labels: self.space_labels.learn(selector, counter),
                by_name: by_name(selector),
            },
        };
        let vocabulary = match &peer.spaces {
            Spaces::Named(name) => self.own_labels.entry(Arc::clone(name)).or_default(),
            _ => &mut self.labels,
        };
        let atom = Atom { spaces, pods: vocabulary.learn(&peer.pods, counter), terms: BTreeSet::new() };
        let number = self.counter.next();
        for anchor in atom.anchors() {
            self.hanging.entry(anchor).or_default().insert(number);
        }
        self.numbers.insert(Arc::new(peer.clone()), number);
        self.all.insert(number, atom);
        number
    }

    /// A term does not ask for these Pods any more.
    pub(crate) fn remove(&mut self, peer: &PodPeer, term: TermId) {
        let Some(number) = self.numbers.get(peer).copied() else { return };
        let Some(atom) = self.all.get_mut(&number) else { return };
        atom.terms.remove(&term);
        if !atom.terms.is_empty() {
            self.dirty.insert(number);
            return;
        }
        self.numbers.remove(peer);
        self.dirty.remove(&number);
        let Some(atom) = self.all.remove(&number) else { return };
        for anchor in atom.anchors() {
            if let Some(hanging) = self.hanging.get_mut(&anchor) {
                hanging.remove(&number);
                if hanging.is_empty() {
                    self.hanging.remove(&anchor);
                }
            }
        }
        self.gone.push(atom);
        match &peer.spaces {
            Spaces::Any => self.labels.forget(&peer.pods),
            Spaces::Named(name) => {
                self.space_names.forget(name);
                if let Some(own) = self.own_labels.get_mut(name) {
                    own.forget(&peer.pods);
                }
            }
            Spaces::Selected(selector) => {
                self.labels.forget(&peer.pods);
                self.space_labels.forget(selector);
            }
        }
    }

    /// What selectors see of the labels of a Pod in this namespace.
    pub(crate) fn pattern(&self, namespace: &str, labels: &Labels) -> Pattern {
        let own = self.own_labels.get(namespace).into_iter().flat_map(|own| own.see(labels));
        vocabulary::pattern(self.labels.see(labels).chain(own))
    }

    /// Which words changed since the last call: for all Pods, and for those of single namespaces.
    pub(crate) fn take_changed_words(&mut self) -> (Changed, Vec<(Arc<str>, Changed)>) {
        let own = self.own_labels.iter_mut().map(|(name, own)| (Arc::clone(name), own.take_changed()));
        let own = own.filter(|(_, changed)| !changed.is_empty()).collect();
        self.own_labels.retain(|_, own| !own.is_empty());
        (self.labels.take_changed(), own)
    }

    /// The terms that match a kind of Pod, sorted.
    pub(crate) fn terms(&self, kind: &KindKey) -> Box<[TermId]> {
        let hanging =
            anchor::of_kind(kind).into_iter().filter_map(|anchor| self.hanging.get(&anchor)).flatten();
        let atoms = hanging.filter_map(|number| self.all.get(number)).filter(|atom| atom.matches(kind));
        let mut terms: Vec<TermId> = atoms.flat_map(|atom| atom.terms.iter().copied()).collect();
        terms.sort_unstable();
        terms.dedup();
        terms.into()
    }

    /// Tells of each selector that changed since the last call, or is gone, where it hangs, and what it matches.
    pub(crate) fn take_changed(&mut self, mut each: impl FnMut(Vec<Anchor>, &dyn Fn(&KindKey) -> bool)) {
        for number in std::mem::take(&mut self.dirty) {
            if let Some(atom) = self.all.get(&number) {
                each(atom.anchors(), &|kind| atom.matches(kind));
            }
        }
        for atom in std::mem::take(&mut self.gone) {
            each(atom.anchors(), &|kind| atom.matches(kind));
        }
    }
}
