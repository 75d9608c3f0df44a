// One Pod: its addresses, what applies to it, its flows, and what it was denied.

import { facts, h, replace, section, table } from './dom.js';
import { empty } from './empty.js';
import { createFlows } from './flows.js';
import { bits, bytes, count, plural } from './format.js';
import { nodeLink, problems } from './nodes.js';
import { address, selection } from './state.js';
import { createTrace } from './trace.js';
import { directionWord } from './words.js';

const TIERS = { admin: 'Admin', networkPolicy: 'NetworkPolicy', baseline: 'Baseline' };

const STATES = {
  open: 'no policy applies: everything passes',
  policed: 'policies decide',
  closed: 'nothing passes but what comes from its own node',
};

function hits({ allowed, denied, audited }) {
  return [count(allowed), count(denied), count(audited)];
}

function policyRows(policies) {
  return policies.flatMap((one, index) => {
    const name = one.defaultDeny ? 'Default deny' : one.policies.join(', ');
    const notes = [one.defaultDeny ? `of ${one.policies.join(', ')}` : '', one.audit ? 'on trial' : '', one.asked ? '' : 'never asked'];
    const note = notes.filter(Boolean).join(', ');
    const head = [String(index + 1), directionWord(one.direction), TIERS[one.tier] ?? one.tier,
      h('span', { class: one.asked ? '' : 'is-over' }, name, note ? h('span', { class: 'note' }, ` ${note}`) : null), ...hits(one)];
    const rules = one.rules.map((rule) => ['', '', '', h('span', { class: 'rule' }, `${one.direction}[${rule.index}]`, rule.name ? ` ${rule.name}` : ''), ...hits(rule)]);
    return [head, ...rules];
  });
}

function policies(document) {
  const { policies: pod, policiesError } = document;
  if (!pod) return section('Policies', null, h('p', { class: 'empty' }, policiesError ?? 'The node enforces no policy for it.'));
  const columns = [['#', 'narrow'], ['Direction', 'narrow'], ['Tier', 'narrow col-tier'], ['Policy and rule', 'wrap'], ['Allowed', 'number'], ['Denied', 'number'], ['Audited', 'number']];
  const rows = policyRows(pod.policies);
  return section('Policies', 'in the order in which they are asked; hits of all Pods of the node', rows.length
    ? table('Policies', columns, rows) : h('p', { class: 'empty' }, 'No policy applies: everything passes.'));
}

function portFacts({ port, node, policies: of }) {
  const limit = (rate) => (rate ? bits(rate) : 'no limit');
  return facts([
    ['Node', nodeLink(node)], ['Addresses', port.addresses.join(', ')], ['State', of ? `${of.state}: ${STATES[of.state] ?? ''}` : null],
    ['Why', of?.reason], ['MAC', port.mac], ['Interface', `${port.ifname}, on the node ${port.hostIfname}`], ['Port id', port.portId],
    ['Sent', port.sent ? `${plural(port.sent.packets, 'packet')}, ${bytes(port.sent.bytes)}` : null],
    ['Received', port.received ? `${plural(port.received.packets, 'packet')}, ${bytes(port.received.bytes)}` : null],
    ['Limits', port.bandwidth ? `${limit(port.bandwidth.ingressRate)} in, ${limit(port.bandwidth.egressRate)} out` : null],
  ]);
}

export function createPod(inspect, inspector) {
  const title = h('h1', { class: 'crumbs' });
  const top = h('div', { class: 'stack' });
  const [denied, all] = [createFlows(inspect, { label: 'Denied' }), createFlows(inspect, { label: 'Flows' })];
  const parts = [['deny', denied, 'Denied', 'with the reason, the last first'], ['', all, 'Flows', 'the last first']].map(([verdict, flows, name, note]) => {
    const none = h('div');
    return { verdict, flows, none, element: section(name, note, flows.element, none) };
  });
  const trace = createTrace();
  const content = h('div', { class: 'stack' }, top, trace.element, parts.map((part) => part.element));
  const element = h('div', { class: 'view' }, title, h('div', { class: 'with-side' }, content, inspector));
  const path = (state) => `/api/pod?${new URLSearchParams({ name: state.name })}`;
  const flowsPath = (state, verdict) => {
    const query = selection(state, ['focus', 'verdict']);
    query.append('pod', state.name);
    if (verdict) query.append('verdict', verdict);
    return `/api/flows?${query}`;
  };
  let [shown, titleOf] = [null, null];

  const update = (state, documents, selected) => {
    trace.update(state);
    if (titleOf !== state.name) {
      titleOf = state.name;
      const [namespace, name] = state.name.split('/');
      const traffic = { view: 'traffic', name: '', verdict: '', since: '', as: 'map' };
      const link = (to, text) => h('a', { href: address({ ...traffic, focus: '', filters: [], ...to }) }, text);
      replace(title, link({ focus: namespace }, namespace), h('span', { class: 'to' }, '/'), h('span', {}, name ?? ''),
        link({ filters: [{ not: false, text: `pod=${state.name}` }] }, h('span', { class: 'aside' }, 'on the map')));
    }
    const { document, error } = documents.get(path(state)) ?? {};
    const text = JSON.stringify([state.name, document, error]);
    if (text !== shown) {
      shown = text;
      replace(top, error ? h('div', { class: 'empty', 'data-empty': 'unreachable' }, h('h3', {}, 'What it is now is not known'), h('p', {}, error)) : null,
        document ? [section('Pod', null, portFacts(document)), problems(document.problems), policies(document)]
          : error ? null : h('p', { class: 'empty' }, 'Asking its node …'));
    }
    for (const part of parts) {
      const flows = documents.get(flowsPath(state, part.verdict))?.document;
      if (!flows) continue;
      const nothing = flows.flows.length === 0;
      part.flows.element.hidden = nothing;
      part.flows.update(flows, selected);
      const silent = flows.nodes.length > 0 && flows.nodes.every((node) => node.error);
      replace(part.none, !nothing ? null : silent ? empty(flows, state)
        : h('p', { class: 'empty', 'data-empty': 'none' }, part.verdict ? 'It was denied nothing in the last hour.' : 'It has no flow of the last hour.'));
    }
  };
  const flowsShown = (state, documents) => parts.flatMap((part) => documents.get(flowsPath(state, part.verdict))?.document?.flows ?? []);
  return {
    element, update, flowsShown,
    questions: (state) => [path(state), ...parts.map((part) => flowsPath(state, part.verdict))],
  };
}
