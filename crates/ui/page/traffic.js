// The first view: the map, and the flows.

import { h, replace, section, setAttribute, setClass, setText } from './dom.js';
import { createEdgeTable } from './edges.js';
import { empty } from './empty.js';
import { createFilters } from './filters.js';
import { createFlows } from './flows.js';
import { count, plural, rate } from './format.js';
import { createMap } from './map.js';
import { address, go, selection } from './state.js';
import { verdict } from './words.js';

function paths(state) {
  const query = selection(state).toString();
  const suffix = query ? `?${query}` : '';
  return { map: `/api/map${suffix}`, flows: `/api/flows${suffix}` };
}

// Where one is: the cluster, a namespace, a workload.
function crumbs(state) {
  const [namespace, workload] = state.focus.split('/');
  const link = (focus, text, last) => (last ? h('b', { 'aria-current': 'true' }, text) : h('a', { href: address({ ...state, focus }) }, text));
  return [
    link('', 'All namespaces', !namespace),
    ...(namespace ? [h('span', { class: 'to' }, '/'), link(namespace, namespace, !workload)] : []),
    ...(workload ? [h('span', { class: 'to' }, '/'), link(state.focus, workload, true)] : []),
  ];
}

function tile(title) {
  const value = h('span', { class: 'tile-value' });
  const note = h('span', { class: 'tile-note' });
  return Object.assign(h('div', { class: 'tile' }, h('span', { class: 'tile-title' }, title), value, note), { value, note });
}

function legend() {
  const items = ['allow', 'deny', 'audit'].map((name) => h('li', { class: `legend-${name}` }, h('span', { class: 'legend-line', 'aria-hidden': 'true' }), verdict(name)));
  return h('ul', { class: 'legend', 'aria-label': 'Legend' }, items, h('li', {}, h('span', { class: 'legend-line is-idle', 'aria-hidden': 'true' }), 'no packet for 30 s'));
}

export function createTraffic(inspect, inspector) {
  const filters = createFilters();
  const map = createMap(inspect);
  const edges = createEdgeTable(inspect);
  const flows = createFlows(inspect);
  const trail = h('div', { class: 'crumbs', role: 'navigation', 'aria-label': 'What is looked at' });
  const ways = [['map', 'Map'], ['table', 'Table']].map(([as, word]) => h('button', { type: 'button', 'data-as': as, onclick: () => go({ as }, { replace: true }) }, word));
  const mapNote = h('p', { class: 'note more', hidden: true });
  const mapEmpty = h('div');
  const flowCount = h('span', { class: 'note' });
  const key = legend();
  const list = h('section', { class: 'card', 'aria-label': 'Flows', hidden: true },
    h('div', { class: 'card-head' }, h('h2', {}, 'Flows'), flowCount, flows.held), flows.element);
  const tiles = { nodes: tile('Nodes'), flows: tile('Flows'), denied: tile('Denied'), rate: tile('Rate now') };
  const element = h('div', { class: 'view' },
    h('h1', { class: 'hidden' }, 'Traffic'),
    h('div', { class: 'tiles' }, Object.values(tiles)),
    filters.element,
    h('div', { class: 'with-side' },
      h('div', { class: 'stack' },
        h('section', { class: 'card', 'aria-label': 'Who talks to whom' },
          h('div', { class: 'card-head' }, trail, h('div', { class: 'segments', role: 'group', 'aria-label': 'Shown as' }, ways)),
          map.element, edges.element, mapEmpty, mapNote, key),
        list),
      inspector));
  let trailOf = null;

  const updateTiles = (nodes, document) => {
    const all = nodes?.nodes ?? [];
    const ready = all.filter((node) => node.ready && !node.error).length;
    const wrong = all.reduce((sum, node) => sum + (node.problems ?? 0), 0);
    setText(tiles.nodes.value, nodes ? `${ready} of ${all.length} ready` : '…');
    const silent = all.filter((node) => node.error).length;
    setText(tiles.nodes.note, [silent && `${silent} unreachable`, wrong && plural(wrong, 'problem')].filter(Boolean).join(', ') || 'no problem');
    setClass(tiles.nodes, 'is-bad', nodes && (ready < all.length || wrong > 0));
    const sum = (name) => document.edges.reduce((total, edge) => total + edge[name], 0);
    const [denied, dropped, audited] = [sum('denied'), sum('droppedPackets'), sum('audited')];
    setText(tiles.flows.value, count(document.matching));
    setText(tiles.flows.note, `of ${count(document.known)} known`);
    setText(tiles.denied.value, count(denied));
    setText(tiles.denied.note, [plural(dropped, 'packet'), audited ? `${count(audited)} audited` : ''].filter(Boolean).join(', '));
    setClass(tiles.denied, 'is-bad', denied > 0);
    setText(tiles.rate.value, rate(sum('bytesPerSecond')) || '0 B/s');
    setText(tiles.rate.note, plural(document.edges.length + document.edgesLeftOut, 'edge'));
  };

  const update = (state, documents, selected) => {
    const asked = paths(state);
    const [graph, rows] = [documents.get(asked.map), documents.get(asked.flows)];
    filters.update(state, rows?.document?.flows ?? [], rows?.error ?? graph?.error);
    if (trailOf !== address(state)) {
      trailOf = address(state);
      replace(trail, crumbs(state));
    }
    for (const way of ways) setAttribute(way, 'aria-pressed', way.dataset.as === state.as);
    const edgesKnown = graph?.document?.edges.length > 0;
    map.element.hidden = !edgesKnown || state.as !== 'map';
    key.hidden = map.element.hidden;
    edges.element.hidden = !edgesKnown || state.as !== 'table';
    mapNote.hidden = !graph?.document?.edgesLeftOut;
    if (graph?.document) {
      const { document } = graph;
      updateTiles(documents.get('/api/nodes')?.document, document);
      // A map that is not shown has no width.
      if (!map.element.hidden) map.update(document, state, selected?.kind === 'edge' ? selected.key : null);
      if (!edges.element.hidden) edges.update(document, state);
      replace(mapEmpty, edgesKnown ? null : empty(document, state));
      setText(mapNote, `${plural(document.edgesLeftOut, 'edge')} with fewer flows are left out: look at a namespace, or filter.`);
    } else {
      replace(mapEmpty, h('p', { class: 'empty' }, graph?.error ?? 'Asking the nodes …'));
    }
    list.hidden = !rows?.document?.flows.length;
    if (rows?.document) {
      flows.update(rows.document, selected);
      setText(flowCount, `${count(rows.document.matching)} of ${count(rows.document.known)}, the last first`);
    }
  };
  return {
    element, update,
    questions: (state) => Object.values(paths(state)),
    flowsShown: (state, documents) => documents.get(paths(state).flows)?.document?.flows ?? [],
    edgesShown: (state, documents) => documents.get(paths(state).map)?.document?.edges ?? [],
  };
}
