// Why there is nothing to be seen: nothing is there, it is filtered, nobody can be asked, or it was lost.

import { h } from './dom.js';
import { count, plural } from './format.js';
import { go, isFiltered } from './state.js';

function box(kind, title, ...children) {
  return h('div', { class: 'empty', 'data-empty': kind }, h('h3', {}, title), children);
}

function reasons(nodes) {
  return h('ul', { class: 'reasons' }, nodes.slice(0, 20).map(({ node, error }) => h('li', {}, h('b', {}, node), ` ${error}`)));
}

// Which of them it is: `none`, `filtered`, `unreachable`, `lost`.
export function why(document, state) {
  const { nodes, known } = document;
  const silent = nodes.filter((node) => node.error);
  if (nodes.length && silent.length === nodes.length) return 'unreachable';
  if (known > 0 && isFiltered(state)) return 'filtered';
  const lost = nodes.reduce((sum, node) => sum + node.lostEvents + node.dropped, 0);
  if (lost > 0) return 'lost';
  return isFiltered(state) && known > 0 ? 'filtered' : 'none';
}

export function empty(document, state) {
  const { nodes, known } = document;
  const clear = h('button', { type: 'button', onclick: () => go({ focus: '', verdict: '', since: '', filters: [] }) }, 'Clear all filters');
  switch (why(document, state)) {
    case 'unreachable':
      return box('unreachable', 'No node tells of flows', h('p', {}, 'Why:'),
        reasons(nodes.filter((node) => node.error)));
    case 'filtered':
      return box('filtered', 'No flow matches', h('p', {}, `${plural(known, 'flow')} ${known === 1 ? 'is' : 'are'} known, and the filters leave none.`), clear);
    case 'lost': {
      const events = nodes.reduce((sum, node) => sum + node.lostEvents, 0);
      const dropped = nodes.reduce((sum, node) => sum + node.dropped, 0);
      return box('lost', 'Flows were lost', h('p', {},
        `Nothing is left to be shown, but that is not all there was: ${count(events)} events were too many at once, and `
        + `${plural(dropped, 'flow')} had to go for others. --flow-events and --max-flows of the agents say how many there may be.`));
    }
    default:
      return box('none', 'No flow yet', h('p', {}, 'Every node was asked, and none has seen a connection of a Pod or a Service in the last hour.'));
  }
}
