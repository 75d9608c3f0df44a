//! What the judge tells of itself.

use objects::{Action, ClusterNetworkPolicy, Invalid, NetworkPolicy, Tier};
use policy::{Applied, Origin};

use crate::build::*;

#[test]
fn what_applies_to_a_pod_is_told_in_order() {
    let mut case = Case::new();
    let rules = [cluster_rule(Action::Deny, &[networks(&["192.0.2.0/24"])], None)];
    for (name, tier, priority) in [("b", Tier::Admin, 1), ("a", Tier::Admin, 2), ("base", Tier::Baseline, 0)]
    {
        case.cluster(ClusterNetworkPolicy {
            ingress: rules.clone().into(),
            egress: rules.clone().into(),
            ..cluster_policy(name, tier, priority)
        });
    }
    case.policy(NetworkPolicy { ingress: Some([].into()), audit: true, ..policy("a/two", "") });
    case.policy(NetworkPolicy { ingress: Some([rule(&[], &[])].into()), ..policy("a/one", "") });
    case.policy(NetworkPolicy { ingress: Some([].into()), ..policy("a/other", "app=other") });
    case.judge.update();
    let told = |one: &Applied| {
        let priority = one.priority.map(|priority| format!(" {priority}")).unwrap_or_default();
        let audit = if one.audit { " audit" } else { "" };
        let asked = if one.asked { "" } else { " not asked" };
        format!("{:?} {:?} {}{priority} {}{audit}{asked}", one.direction, one.origin, one.policy, one.rules)
    };
    let applied = case.judge.policies_of(SUBJECT).unwrap();
    assert_eq!(
        applied.iter().map(told).collect::<Vec<_>>(),
        [
            "Ingress Admin b 1 1",
            "Ingress Admin a 2 1",
            "Ingress NetworkPolicy a/one 1",
            "Ingress NetworkPolicy a/two 0 audit",
            "Ingress Baseline base 0 1 not asked",
            "Egress Admin b 1 1",
            "Egress Admin a 2 1",
            "Egress Baseline base 0 1",
        ]
    );
}

#[test]
fn what_is_wrong_with_a_policy_is_told_once() {
    let mut case = Case::new();
    let defects = || [Invalid::field("spec.x", "is wrong"), Invalid::field("spec.y", "is bad")].into();
    case.policy(NetworkPolicy { defects: defects(), ..policy("a/one", "") });
    case.cluster(ClusterNetworkPolicy { defects: defects(), ..cluster_policy("one", Tier::Admin, 1) });
    case.namespace(objects::Namespace { defects: defects(), ..namespace("a", "") });
    let problems = case.judge.problems();
    let objects: Vec<&str> = problems.iter().map(|problem| &*problem.object).collect();
    assert_eq!(objects, ["ClusterNetworkPolicy one", "Namespace a", "NetworkPolicy a/one"]);
    for problem in problems {
        assert_eq!((problem.what, &*problem.problem), ("policy_defect", "spec.x: is wrong; spec.y: is bad"));
        assert!(policy::KINDS.contains(&problem.what));
        assert!(problem.remedy.contains("spec.y"));
    }
}

#[test]
fn the_biggest_sets_name_their_policies() {
    let mut case = Case::new();
    let blocks =
        |count: u8| (0..count).map(|number| rule(&[block(&format!("10.9.{number}.0/24"), &[])], &[]));
    case.policy(NetworkPolicy { ingress: Some(blocks(3).collect()), ..policy("a/few", "") });
    case.policy(NetworkPolicy { ingress: Some(blocks(20).collect()), ..policy("a/many", "app=subject") });
    case.pod(pod("a/two", "", "10.0.0.2"));
    case.judge.set_local(policy::LocalId(2), local("a/two", "10.0.0.2"));
    case.judge.update();
    let biggest = case.judge.biggest_sets(1);
    assert_eq!(biggest.len(), 1);
    assert_eq!((Some(biggest[0].set), biggest[0].pods), (case.judge.set_of(SUBJECT), 1));
    assert_eq!(biggest[0].entries, 22);
    let policies: Vec<String> = biggest[0].policies.iter().map(ToString::to_string).collect();
    assert_eq!(policies, ["a/many", "a/few"]);
    let usage = case.judge.usage();
    assert_eq!((usage.sets, usage.classes, usage.blocks, usage.entries), (2, 20, 20, 22 + 5));
}

#[test]
fn rules_have_names() {
    let mut case = Case::new();
    let named = objects::ClusterRule {
        name: "no-lab".into(),
        ..cluster_rule(Action::Deny, &[networks(&["192.0.2.0/24"])], None)
    };
    case.cluster(ClusterNetworkPolicy { egress: [named].into(), ..cluster_policy("one", Tier::Baseline, 1) });
    let verdict = case.verdict(Egress, "192.0.2.7", None);
    let rule = case.judge.rule(verdict.rule).unwrap();
    assert_eq!(
        (&*rule.name, rule.rule, rule.origin, rule.direction),
        ("no-lab", Some(0), Origin::Baseline, Egress)
    );
    assert_eq!(case.judge.rule(policy::RuleId::NONE), None);
}
