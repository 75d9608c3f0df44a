//! What the judge says of its tables, and of single Pods and policies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use objects::{Invalid, Key, Protocol, Tier};

use super::Judge;
use crate::both::DIRECTIONS;
use crate::explain::{Applied, SetUsage, Usage};
use crate::problem::{self, Problem};
use crate::side::Side;
use crate::subject::Subject;
use crate::tables::{
    Changes, ClassId, Direction, Entry, EntryKey, ListId, LocalId, Origin, RuleId, RuleName, SetId, Verdict,
};

/// So many policies are named.
const NAMED: usize = 5;

impl Judge {
    /// The tables as of the last update, as additions to empty ones.
    pub fn all(&self) -> Changes {
        let mut all = Changes {
            rules: self.sets.rules.iter().map(|(id, rule)| (RuleId(id), Arc::clone(rule))).collect(),
            lists: self.sets.lists.iter().map(|(id, list)| (ListId(id), Arc::clone(list))).collect(),
            ..Changes::default()
        };
        for (set, known) in &self.sets.all {
            let defaults =
                DIRECTIONS.into_iter().map(|direction| (direction, None, *known.defaults.of(direction)));
            let entries =
                known.entries.iter().map(|((direction, class), list)| (*direction, Some(*class), *list));
            all.entries.extend(defaults.chain(entries).map(|(direction, class, list)| Entry {
                key: EntryKey { set: *set, direction, class },
                list,
            }));
        }
        let addresses = self.addresses.iter().filter(|(_, known)| known.shown.is_some());
        all.classes = addresses.map(|(address, known)| (*address, known.shown)).collect();
        let regions = self.terms.regions.iter().filter(|(_, region)| region.shown.is_some());
        all.blocks = regions.filter_map(|(prefix, region)| Some((prefix.block()?, region.shown))).collect();
        all.pods = self.locals.iter().filter_map(|(id, local)| Some((id, local.told?))).collect();
        all
    }

    /// What is wrong with policies, and with what namespaces say of them.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for namespace in self.namespaces.iter() {
            defects(&mut problems, format!("Namespace {}", namespace.key), &namespace.defects);
        }
        for policy in self.policies.network() {
            defects(&mut problems, format!("NetworkPolicy {}", policy.key), &policy.defects);
        }
        let mut places: BTreeMap<(Tier, u16), Vec<&str>> = BTreeMap::new();
        for policy in self.policies.cluster() {
            defects(&mut problems, format!("ClusterNetworkPolicy {}", policy.key), &policy.defects);
            places.entry((policy.tier, policy.priority)).or_default().push(policy.key.name());
        }
        problems.extend(places.into_iter().filter_map(|(place, names)| tie(place, &names)));
        problems.extend(self.refused.values().map(|side| too_much(side)));
        problems.sort_unstable();
        problems.dedup();
        problems
    }

    /// The set of a Pod of this node, as of the last update.
    pub fn set_of(&self, id: LocalId) -> Option<SetId> {
        self.locals.get(id)?.told
    }

    /// Whether what applies to a Pod of this node is too much: it has the set that it had before, which may be
    /// [`SetId::CLOSED`]. What is too much is told as a problem ([`Self::problems`]).
    pub fn is_withheld(&self, id: LocalId) -> bool {
        self.locals.get(id).is_some_and(|local| local.withheld)
    }

    /// Whether a NetworkPolicy is too much for a Pod that it applies to, as of the last update.
    pub fn withholds_policy(&self, key: &Key) -> bool {
        self.refused.values().any(|side| side.origin == Origin::NetworkPolicy && side.policy == *key)
    }

    /// The same of a ClusterNetworkPolicy.
    pub fn withholds_cluster_policy(&self, key: &Key) -> bool {
        self.refused.values().any(|side| side.origin != Origin::NetworkPolicy && side.policy == *key)
    }

    /// The class of an address, as of the last update.
    pub fn class_of(&self, address: IpAddr) -> ClassId {
        match self.addresses.get(address).and_then(|known| known.shown) {
            Some(class) => class,
            None => self.terms.regions.of(address).map_or(ClassId::OTHER, |region| region.class),
        }
    }

    /// What becomes of a port, or of what has none.
    pub fn verdict(
        &self,
        set: SetId,
        direction: Direction,
        class: ClassId,
        port: Option<(Protocol, u16)>,
    ) -> Verdict {
        let by_nobody = Verdict {
            allow: false,
            audit: false,
            reject: false,
            origin: Origin::Nothing,
            rule: RuleId::NONE,
        };
        if set == SetId::OPEN {
            return Verdict { allow: true, ..by_nobody };
        }
        let list = self.sets.all.get(&set).and_then(|set| {
            let list = set.entries.get(&(direction, class)).unwrap_or(set.defaults.of(direction));
            self.sets.lists.get(list.0)
        });
        list.map_or(by_nobody, |list| list.verdict(port))
    }

    /// What a rule's number stands for.
    pub fn rule(&self, id: RuleId) -> Option<Arc<RuleName>> {
        self.sets.rules.get(id.0).cloned()
    }

    /// The policies that apply to a Pod of this node, in the order in which they are asked, what comes in first. `None` if
    /// it is not known what applies: its set is [`SetId::CLOSED`].
    pub fn policies_of(&self, id: LocalId) -> Option<Vec<Applied>> {
        let holder = self.pods.get(self.locals.get(id)?.holder?)?;
        let subject = Subject::of(&holder.pod, &self.policies, &self.namespaces)?;
        let applied = |side: &Arc<Side>, asked| Applied {
            direction: side.direction,
            origin: side.origin,
            policy: side.policy.clone(),
            priority: side.priority,
            audit: side.audit || subject.audit,
            rules: side.rules().len(),
            asked,
        };
        let mut all = Vec::new();
        for direction in DIRECTIONS {
            all.extend(subject.sides.of(direction).iter().map(|side| applied(side, true)));
            all.extend(subject.unasked.of(direction).iter().map(|side| applied(side, false)));
        }
        Some(all)
    }

    /// How much there is, as of the last update.
    pub fn usage(&self) -> Usage {
        Usage {
            sets: self.sets.all.len(),
            classes: self.classes.len(),
            lists: self.sets.lists.iter().count(),
            intervals: self.sets.lists.iter().map(|(_, list)| list.intervals.len()).sum(),
            entries: self.sets.all.values().map(|set| DIRECTIONS.len() + set.entries.len()).sum(),
            rules: self.sets.rules.iter().count(),
            addresses: self.addresses.iter().filter(|(_, known)| known.shown.is_some()).count(),
            blocks: self.terms.regions.iter().filter(|(_, region)| region.shown.is_some()).count(),
            terms: self.terms.len(),
            kinds: self.kinds.len(),
        }
    }

    /// The sets with the most entries, at most so many.
    pub fn biggest_sets(&self, most: usize) -> Vec<SetUsage> {
        let size = |set: &SetId| self.sets.all.get(set).map_or(0, |known| known.entries.len());
        let mut sets: Vec<SetId> = self.sets.all.keys().copied().collect();
        sets.sort_unstable_by_key(|set| (usize::MAX - size(set), *set));
        let usage = |set: SetId| {
            let known = self.sets.all.get(&set)?;
            let entries = DIRECTIONS.len() + known.entries.len();
            Some(SetUsage { set, pods: known.users, entries, policies: known.policies() })
        };
        sets.into_iter().take(most).filter_map(usage).collect()
    }
}

fn defects(problems: &mut Vec<Problem>, object: String, defects: &[Invalid]) {
    if defects.is_empty() {
        return;
    }
    let told: Vec<&str> = defects.iter().map(|defect| &*defect.problem).collect();
    let remedies: Vec<&str> = defects.iter().map(|defect| &*defect.remedy).collect();
    problems.push(Problem {
        what: problem::DEFECT,
        object,
        problem: told.join("; "),
        remedy: remedies.join("; "),
    });
}

fn too_much(side: &Side) -> Problem {
    let kind = match side.origin {
        Origin::NetworkPolicy => "NetworkPolicy",
        _ => "ClusterNetworkPolicy",
    };
    Problem {
        what: problem::FULL,
        object: format!("{kind} {}", side.policy),
        problem: "its rules overlap too much, or have too many ports: for Pods that it applies to, what was in force before \
                  stays in force; new ones are closed"
            .into(),
        remedy: "have fewer rules for the same peers, or for blocks that contain each other; join rules with the same \
                 ports, or with the same peers"
            .into(),
    }
}

fn tie((tier, priority): (Tier, u16), names: &[&str]) -> Option<Problem> {
    let (first, others) = names.split_first()?;
    if others.is_empty() {
        return None;
    }
    let more = match others.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let others: Vec<&str> = others.iter().take(NAMED).copied().collect();
    let tier = match tier {
        Tier::Admin => "Admin",
        Tier::Baseline => "Baseline",
    };
    Some(Problem {
        what: problem::TIE,
        object: format!("ClusterNetworkPolicy {first}"),
        problem: format!(
            "spec.priority {priority} in the tier {tier} is also that of {}{more}: they are asked in the order of their names",
            others.join(", ")
        ),
        remedy: "give each of them another spec.priority".into(),
    })
}
