// Where what is shown leads.

import { h } from './dom.js';
import { address } from './state.js';
import { itemName } from './words.js';

const NOTHING = { focus: '', verdict: '', since: '', filters: [], as: 'map' };

export function viewAddress(view, name, trace = '') {
  return address({ ...NOTHING, view, name, trace });
}

// What is looked at after a click on an item of the map.
export function target(state, { kind, namespace, name }) {
  if (kind === 'namespace') return { ...state, focus: namespace };
  if (kind === 'workload') return { ...state, focus: `${namespace}/${name}` };
  if (kind === 'pod') return { ...NOTHING, view: 'pod', name: `${namespace}/${name}` };
  if (kind === 'node') return { ...NOTHING, view: 'node', name };
  return { ...state, as: 'map' };
}

export function itemLink(state, item) {
  const name = itemName(item, state.focus);
  if (item.kind === 'outside' || item.kind === 'nodes') return h('span', { class: 'name' }, name);
  return h('a', { class: 'name', href: address(target(state, item)) }, name);
}
