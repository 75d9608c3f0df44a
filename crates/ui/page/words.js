// What a verdict is called, and the shape that stands for it.

import { h, s } from './dom.js';

const VERDICTS = {
  allow: { word: 'Allowed', path: ['M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13z', 'M5 8.2l2.1 2.1L11 6.2'] },
  deny: { word: 'Denied', path: ['M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2z', 'M5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6'] },
  audit: { word: 'Audited', path: ['M8 1.8l6.6 12H1.4z', 'M8 6.2v3.6M8 11.6v.4'] },
};

const OTHER = { word: 'Unknown', path: ['M2 2h12v12H2z', 'M5 8h6'] };

export function verdictWord(verdict) {
  return (VERDICTS[verdict] ?? OTHER).word;
}

// The shape: a disc, an octagon, a triangle.
export function mark(verdict) {
  const { path: [outline, inside] } = VERDICTS[verdict] ?? OTHER;
  return s('svg', { class: 'mark', viewBox: '0 0 16 16', 'aria-hidden': 'true' },
    s('path', { class: 'mark-outline', d: outline }), s('path', { class: 'mark-inside', d: inside }));
}

// Shape and word.
export function verdict(name) {
  const known = Object.hasOwn(VERDICTS, name) ? name : 'other';
  return h('span', { class: `verdict verdict-${known}` }, mark(name), h('span', {}, verdictWord(name)));
}

const KINDS = {
  namespace: 'M2.5 2.5h11v11h-11z',
  workload: 'M8 1.8l5.4 3.1v6.2L8 14.2l-5.4-3.1V4.9z',
  pod: 'M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12z',
  node: 'M2 3h12v4H2zM2 9h12v4H2z',
  nodes: 'M2 3h12v4H2zM2 9h12v4H2z',
  outside: 'M8 1.8a6.2 6.2 0 1 0 0 12.4a6.2 6.2 0 0 0 0-12.4zM1.8 8h12.4M8 1.8c-4 4-4 8.4 0 12.4c4-4 4-8.4 0-12.4',
};

// The shape of what is on the map.
export function shape(kind) {
  return s('svg', { class: 'shape', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, s('path', { d: KINDS[kind] ?? KINDS.pod }));
}

// What an item of the map is called.
export function itemName(item, focus) {
  const { kind, namespace, name } = item;
  if (kind === 'outside') return 'Outside';
  if (kind === 'nodes') return 'Nodes';
  if (kind === 'namespace') return namespace;
  if (kind === 'node') return name;
  return focus && namespace === focus.split('/')[0] ? name : `${namespace}/${name}`;
}

// What tells it from others; it is kept with it.
export function itemKey(item) {
  item.key ??= `${item.kind} ${item.namespace ?? ''} ${item.name ?? ''}`;
  return item.key;
}

export function edgeKey(edge) {
  edge.key ??= `${itemKey(edge.from)} > ${itemKey(edge.to)}`;
  return edge.key;
}

export function edgeVerdict(edge) {
  if (edge.denied) return 'deny';
  return edge.audited ? 'audit' : 'allow';
}

export const KIND_WORDS = {
  namespace: 'namespace', workload: 'workload', pod: 'Pod', node: 'node', nodes: 'all nodes', outside: 'outside the cluster',
};

const DIRECTIONS = { ingress: 'in', egress: 'out' };

// Who decided, in words.
export function decision(of, direction) {
  if (!of) return null;
  const who = of.policies.length ? of.policies.join(', ') : of.decidedBy;
  const byDefault = of.decidedBy === 'networkPolicy' ? 'default deny' : 'no rule';
  const rule = of.rule === null || of.rule === undefined ? byDefault : `${direction}[${of.rule}]`;
  const named = of.ruleName ? ` (${of.ruleName})` : '';
  return `${who}: ${rule}${named}${of.audit ? ', on trial' : ''}`;
}

export function directionWord(direction) {
  return DIRECTIONS[direction] ?? direction;
}
