//! Policies, from an agent that enforces some.

use nodeapi::v1::policies_server::Policies;
use nodeapi::v1::{
    self, ExplainPolicyReply, ExplainPolicyRequest, GetPolicyVersionReply, GetPolicyVersionRequest,
    ListPoliciesReply, ListPoliciesRequest, PreviewPolicyReply, PreviewPolicyRequest,
};
use tonic::{Request, Response, Status, async_trait};

use super::preview;
use super::support::{FakeAgent, full, text};

/// An agent's policies: those of two Pods.
#[derive(Clone, Default)]
pub(crate) struct FakePolicies;

#[async_trait]
impl Policies for FakePolicies {
    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesReply>, Status> {
        match request.into_inner().pod {
            Some(pod) if pod.name != "web" => {
                Err(Status::not_found(format!("there is no Pod {}/{} on this node", pod.namespace, pod.name)))
            }
            _ => Ok(Response::new(list())),
        }
    }

    async fn explain_policy(
        &self,
        request: Request<ExplainPolicyRequest>,
    ) -> Result<Response<ExplainPolicyReply>, Status> {
        let request = request.into_inner();
        if request.port == 9 {
            return Err(Status::failed_precondition("neither is a Pod of this node: ask node node8"));
        }
        Ok(Response::new(explanation(if request.port == 80 { "allow" } else { "deny" })))
    }

    async fn preview_policy(
        &self,
        request: Request<PreviewPolicyRequest>,
    ) -> Result<Response<PreviewPolicyReply>, Status> {
        preview::preview(&request.into_inner()).map(Response::new)
    }

    async fn get_policy_version(
        &self,
        request: Request<GetPolicyVersionRequest>,
    ) -> Result<Response<GetPolicyVersionReply>, Status> {
        Ok(Response::new(preview::version(request.into_inner())))
    }
}

fn list() -> ListPoliciesReply {
    let counts = Some(v1::PolicyCounts { allowed: 7, denied: 3, audited: 1 });
    let rule = |index, name: &str| v1::PolicyRule { index, name: name.into(), counts };
    let admin = v1::AppliedPolicy {
        direction: "ingress".into(),
        tier: "admin".into(),
        policies: vec!["base".into()],
        priority: Some(10),
        rules: vec![rule(0, "dns"), rule(1, "")],
        counts,
        ..Default::default()
    };
    let default = v1::AppliedPolicy {
        direction: "egress".into(),
        tier: "networkPolicy".into(),
        policies: vec!["default/web".into()],
        default_deny: true,
        ..Default::default()
    };
    let pod = |name: &str, state: &str, reason: &str, policies| v1::PodPolicies {
        namespace: "default".into(),
        name: name.into(),
        addresses: vec!["10.244.1.3".into()],
        state: state.into(),
        reason: reason.into(),
        set: 7,
        policies,
    };
    ListPoliciesReply {
        pods: vec![
            pod("new", "closed", "its object is not known yet", Vec::new()),
            pod("web", "policed", "", vec![admin, default]),
        ],
        problems: vec![v1::Problem {
            what: "policy_tie".into(),
            object: "ClusterNetworkPolicy a".into(),
            problem: "has the priority of b".into(),
            remedy: "give it another".into(),
        }],
        notes: vec!["egress[0] of NetworkPolicy default/web: 10.96.0.0/16 is of Services".into()],
    }
}

fn explanation(verdict: &str) -> ExplainPolicyReply {
    let by_rule = v1::PolicyDecision {
        verdict: verdict.into(),
        reject: true,
        decided_by: "networkPolicy".into(),
        policies: vec!["default/web".into()],
        rule: Some(1),
        rule_name: "dns".into(),
        why: "ingress[1] of NetworkPolicy default/web says so".into(),
        set: 7,
        class: 3,
        list: 9,
    };
    let by_none = v1::PolicyDecision { rule: None, rule_name: String::new(), ..by_rule.clone() };
    let path = |egress, ingress| v1::PolicyPath {
        source: "10.244.1.3".into(),
        destination: "10.244.2.3:80".into(),
        egress,
        ingress,
        notes: vec!["Pod default/web is of node node8".into()],
    };
    ExplainPolicyReply {
        paths: vec![
            path(Some(by_rule.clone()), Some(by_none.clone())),
            path(Some(by_none), Some(by_rule.clone())),
            path(None, Some(by_rule.clone())),
            path(Some(by_rule), None),
        ],
    }
}

#[test]
fn every_form_shows_policies() {
    let agent = FakeAgent::enforcing(FakePolicies);
    for (arguments, code, want) in [
        (&["policy"][..], 0, "CLOSED: its object is not known yet"),
        (&["policy", "default/web", "-o", "wide"], 0, "ingress[0] \"dns\""),
        (&["policy", "-o", "yaml"], 0, "defaultDeny: true"),
        (&["policy", "explain", "default/new", "default/web", "tcp/80"], 0, "passes"),
        (&["policy", "explain", "default/new", "10.244.2.3", "udp/53"], 4, "denied, and its sender is told"),
        (&["policy", "explain", "default/new", "fd44::3", "icmp", "-o", "json"], 4, "\"verdict\": \"deny\""),
    ] {
        let output = agent.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains(want), "{arguments:?}: {want} is not in:\n{shown}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let agent = FakeAgent::enforcing(FakePolicies);
    let old = FakeAgent::with(full());
    for (agent, arguments, wanted) in [
        (&agent, &["policy", "default/gone"][..], "there is no Pod default/gone on this node"),
        (&agent, &["policy", "explain", "default/a", "default/b", "tcp/9"], "ask node node8"),
        (&old, &["policy"], "different versions"),
    ] {
        let output = agent.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(wanted) && said.lines().count() == 1, "{wanted} is not in: {said}");
    }
    assert_eq!(agent.run(&["policy", "explain", "default/a", "default/b", "80"]).status.code(), Some(2));
}
