// Who talks to whom, as a table: what is on the map is in it.

import { h, reconcile, replace, setText } from './dom.js';
import { ago, count, microseconds, rate } from './format.js';
import { itemLink } from './links.js';
import { address } from './state.js';
import { edgeKey, edgeVerdict, verdict } from './words.js';

export function createEdgeTable(inspect) {
  const body = h('tbody');
  const columns = ['From', 'To', 'Verdict', 'Flows', 'Ports', 'Service', 'Rate', 'RTT', 'Last'];
  const numeric = [3, 6, 7, 8];
  const kind = (index) => (numeric.includes(index) ? 'number' : '');
  const element = h('div', { class: 'scroll edge-table', tabindex: '0', role: 'region', 'aria-label': 'Who talks to whom' },
    h('table', {}, h('thead', {}, h('tr', {}, columns.map((title, index) => h('th', { scope: 'col', class: kind(index) }, title)))), body));
  const create = () => {
    const cells = columns.map((_, index) => h('td', { class: kind(index) }));
    return Object.assign(h('tr', {}, cells), { parts: cells, said: '' });
  };
  const update = (row, edge, state) => {
    const said = `${edgeKey(edge)} ${edgeVerdict(edge)} ${edge.denied} ${edge.flows} ${address(state)}`;
    const { parts: cells } = row;
    if (row.said !== said) {
      row.said = said;
      replace(cells[0], itemLink(state, edge.from));
      replace(cells[1], itemLink(state, edge.to));
      const open = h('button', { type: 'button', class: 'cell', onclick: () => inspect({ kind: 'edge', key: edgeKey(edge) }) },
        verdict(edgeVerdict(edge)), edge.denied ? h('span', { class: 'note' }, ` ${count(edge.denied)} of ${count(edge.flows)}`) : null);
      replace(cells[2], open);
    }
    setText(cells[3], count(edge.flows));
    setText(cells[4], edge.ports.join(', ') + (edge.morePorts ? ', …' : ''));
    setText(cells[5], edge.services.join(', '));
    setText(cells[6], rate(edge.bytesPerSecond));
    setText(cells[7], microseconds(edge.roundTripMicroseconds));
    setText(cells[8], ago(edge.lastSeconds));
  };
  return {
    element,
    update: (document, state) => reconcile(body, document.edges, edgeKey, create, (row, edge) => update(row, edge, state)),
  };
}
