// The first view: the map, and the flows.

import { h, replace, section, setAttribute, setClass, setText } from './dom.js';
import { empty } from './empty.js';
import { createFilters } from './filters.js';
import { createFlows } from './flows.js';
import { count, plural, rate } from './format.js';
import { createEdgeTable, createMap } from './map.js';
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
  const [mapEmpty, flowsEmpty] = [h('div'), h('div')];
  const flowCount = h('span', { class: 'note' });
  const key = legend();
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
        h('section', { class: 'card', 'aria-label': 'Flows' },
          h('div', { class: 'card-head' }, h('h2', {}, 'Flows'), flowCount, flows.held), flows.element, flowsEmpty)),
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
    const [graph, list] = [documents.get(asked.map), documents.get(asked.flows)];
    filters.update(state, list?.document?.flows ?? [], list?.error ?? graph?.error);
    if (trailOf !== address(state)) {
      trailOf = address(state);
      replace(trail, crumbs(state));
    }
    for (const way of ways) setAttribute(way, 'aria-pressed', way.dataset.as === state.as);
    if (graph?.document) {
      const { document } = graph;
      const nothing = document.edges.length === 0;
      updateTiles(documents.get('/api/nodes')?.document, document);
      map.element.hidden = nothing || state.as !== 'map';
      key.hidden = map.element.hidden;
      edges.element.hidden = nothing || state.as !== 'table';
      // A map that is not shown has no width.
      if (!map.element.hidden) map.update(document, state, selected?.kind === 'edge' ? selected.key : null);
      if (!edges.element.hidden) edges.update(document, state);
      replace(mapEmpty, nothing ? empty(document, state) : null);
      mapNote.hidden = !document.edgesLeftOut;
      setText(mapNote, `${plural(document.edgesLeftOut, 'edge')} with fewer flows are left out: look at a namespace, or filter.`);
    } else {
      replace(mapEmpty, graph?.error ? null : h('p', { class: 'empty' }, 'Asking the nodes …'));
    }
    if (list?.document) {
      const { document } = list;
      const nothing = document.flows.length === 0;
      flows.element.hidden = nothing;
      flows.update(document, selected);
      replace(flowsEmpty, nothing ? h('p', { class: 'empty' }, 'Nothing to be listed.') : null);
      setText(flowCount, `${count(document.matching)} of ${count(document.known)}, the last first`);
    }
  };
  return {
    element, update,
    questions: (state) => Object.values(paths(state)),
    flowsShown: (state, documents) => documents.get(paths(state).flows)?.document?.flows ?? [],
    edgesShown: (state, documents) => documents.get(paths(state).map)?.document?.edges ?? [],
  };
}
