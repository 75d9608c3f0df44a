// Who talks to whom, as a map.

import { h, reconcile, replace, s, setAttribute, setClass, setText } from './dom.js';
import { count, plural, rate } from './format.js';
import { HEIGHT, arrange, gather, labels, path, point, route } from './layout.js';
import { target } from './links.js';
import { address, go } from './state.js';
import { KIND_WORDS, edgeKey, edgeVerdict, itemKey, itemName, mark, shape } from './words.js';

// Rates are written beside edges as long as there are few; of others, and where there is no space, while they are pointed at.
const FEW = 60;
const CROWD = 120;
const LETTER = 6;
const SMALLEST = 520;
const RECENT = 30;

function isInside(state, { namespace, name, kind }) {
  if (!state.focus) return false;
  const [wanted, of] = state.focus.split('/');
  return of === undefined ? namespace === wanted && kind === 'workload' : kind === 'pod' && namespace === wanted;
}

function arrow(name) {
  return s('marker', { id: `arrow-${name}`, class: `arrow arrow-${name}`, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7,
    markerHeight: 7, orient: 'auto', markerUnits: 'userSpaceOnUse' }, s('path', { d: 'M0 .8L7.5 4L0 7.2z' }));
}

export function createMap(inspect) {
  const edgesLayer = s('g', {});
  const svg = s('svg', { class: 'edges', 'aria-hidden': 'true' },
    s('defs', {}, ['allow', 'deny', 'audit', 'idle'].map(arrow)), edgesLayer);
  const items = h('ul', { class: 'items' });
  const stage = h('div', { class: 'stage' }, svg, items);
  const element = h('div', { class: 'map', role: 'group', 'aria-label': 'Map: the same is in the table' }, stage);
  let shown = { structure: '', width: 0, between: 0, items: new Map(), lanes: new Map(), labels: new Map() };
  let last = null;

  const heat = (key) => {
    setClass(stage, 'has-hot', key !== null);
    for (const edge of edgesLayer.children) setClass(edge, 'is-hot', key !== null && (edge.from === key || edge.to === key));
  };

  function createItem() {
    const parts = { label: 'item-name', note: 'item-note', denied: 'item-denied', sign: 'item-sign' };
    const made = Object.fromEntries(Object.entries(parts).map(([name, kind]) => [name, h('span', { class: kind })]));
    const box = h('a', {}, made.sign, h('span', { class: 'item-text' }, made.label, made.note), made.denied);
    const within = h('button', { type: 'button', onclick: () => inspect({ kind: 'edge', key: `${row.key} > ${row.key}` }) });
    const row = Object.assign(h('li', {}, box, within), made, { box, within, kind: '' });
    for (const [start, end] of [['pointerenter', 'pointerleave'], ['focusin', 'focusout']]) {
      box.addEventListener(start, () => heat(row.key));
      box.addEventListener(end, () => heat(null));
    }
    return row;
  }

  function updateItem(row, one, state) {
    const { box, within } = row;
    const { item } = one;
    const name = itemName(item, state.focus);
    const isLink = item.kind !== 'outside' && item.kind !== 'nodes';
    row.key = one.key;
    Object.assign(row.style, { left: `${one.x}px`, top: `${one.y}px`, width: `${one.width}px` });
    if (row.kind !== item.kind) {
      row.kind = item.kind;
      replace(row.sign, shape(item.kind));
    }
    setAttribute(box, 'href', isLink ? address(target(state, item)) : null);
    setAttribute(box, 'title', `${KIND_WORDS[item.kind]} ${name}`);
    setAttribute(box, 'class', `item item-${item.kind}${isInside(state, item) ? ' is-inside' : ''}`);
    setText(row.label, name);
    setText(row.note, [plural(one.flows, 'flow'), rate(one.bytesPerSecond)].filter(Boolean).join(' · '));
    setText(row.denied, one.denied ? `${count(one.denied)} denied` : '');
    within.hidden = !one.within;
    if (one.within) {
      setText(within, `${count(one.within.flows)} within`);
      setAttribute(within, 'class', `item-within within-${edgeVerdict(one.within)}`);
    }
  }

  function createEdge() {
    const [line, hit] = ['line', 'hit'].map((kind) => s('path', { class: kind }));
    const sign = s('g', { class: 'sign' });
    const text = s('text', { class: 'edge-text', 'text-anchor': 'middle' });
    const group = s('g', { onclick: () => inspect({ kind: 'edge', key: group.key }) }, line, hit, sign, text);
    return Object.assign(group, { line, hit, sign, text, said: '' });
  }

  function way(edge) {
    const [from, to] = [edge.from, edge.to].map((item) => shown.items.get(itemKey(item)));
    return route(from, to, shown.between, shown.lanes.get(edgeKey(edge)));
  }

  function updateEdge(group, edge, selected) {
    const curves = way(edge);
    const [x, y] = point(curves, 0.5);
    Object.assign(group, { key: edgeKey(edge), from: itemKey(edge.from), to: itemKey(edge.to) });
    const said = edgeVerdict(edge);
    const idle = edge.lastSeconds > RECENT && said === 'allow';
    const place = shown.labels.get(group.key);
    for (const one of [group.line, group.hit]) setAttribute(one, 'd', path(curves));
    setAttribute(group.line, 'marker-end', `url(#arrow-${idle ? 'idle' : said})`);
    setAttribute(group.line, 'stroke-width', (1.1 + Math.min(2.4, Math.log10(edge.flows + 1) * 0.7)).toFixed(1));
    const kinds = ['edge', `edge-${said}`, idle && 'is-idle', edge.denied && edge.allowed && 'is-mixed', !place && 'is-crowded',
      selected === group.key && 'is-selected', group.classList.contains('is-hot') && 'is-hot'];
    setAttribute(group, 'class', kinds.filter(Boolean).join(' '));
    if (group.said !== said) {
      group.said = said;
      replace(group.sign, said === 'allow' ? null : mark(said));
      for (const one of group.sign.children) for (const side of ['width', 'height']) one.setAttribute(side, 16);
    }
    setAttribute(group.sign, 'transform', `translate(${x - 8} ${y - 8})`);
    const [left, top] = place ?? [x, y];
    setAttribute(group.text, 'x', left);
    setAttribute(group.text, 'y', top - 5);
    setText(group.text, rate(edge.bytesPerSecond));
  }

  // The busiest first. On a small screen there is no space.
  function placeLabels(edges) {
    if (edges.length > FEW || shown.width < SMALLEST) return new Map();
    const boxes = [...shown.items.values()].map((one) => [one.x, one.y, one.x + one.width, one.y + HEIGHT]);
    const texts = [];
    for (const edge of edges) {
      const [curves, text] = [way(edge), rate(edge.bytesPerSecond)];
      const [x, y] = point(curves, 0.5);
      if (edgeVerdict(edge) !== 'allow') boxes.push([x - 9, y - 9, x + 9, y + 9]);
      if (text) texts.push({ key: edgeKey(edge), curves, width: text.length * LETTER + 6, bytesPerSecond: edge.bytesPerSecond });
    }
    return labels(texts.sort((one, other) => other.bytesPerSecond - one.bytesPerSecond), boxes);
  }

  function update(document, state, selected) {
    last = [document, state, selected];
    const { edges } = document;
    const width = element.clientWidth || 800;
    const all = gather(edges);
    const structure = edges.map(edgeKey).sort().join('\n');
    if (structure !== shown.structure || width !== shown.width) {
      const { height, between, lanes } = arrange(all, width);
      shown = { structure, width, between, lanes, items: all, labels: new Map() };
      stage.style.height = `${height}px`;
      setAttribute(svg, 'viewBox', `0 0 ${width} ${height}`);
      for (const [name, value] of [['width', width], ['height', height]]) setAttribute(svg, name, value);
    } else {
      for (const [key, one] of all) {
        const { flows, denied, bytesPerSecond, within } = one;
        Object.assign(shown.items.get(key), { flows, denied, bytesPerSecond, within });
      }
    }
    const inOrder = [...shown.items.values()].sort((a, b) => a.x - b.x || a.y - b.y);
    reconcile(items, inOrder, (one) => one.key, createItem, (row, one) => updateItem(row, one, state));
    // What is denied is drawn last, above the rest.
    const outer = edges.filter((edge) => itemKey(edge.from) !== itemKey(edge.to));
    shown.labels = placeLabels(outer);
    setClass(stage, 'is-crowd', outer.length > CROWD);
    const drawn = outer.sort((a, b) => Number(a.denied > 0) - Number(b.denied > 0) || (edgeKey(a) < edgeKey(b) ? -1 : 1));
    reconcile(edgesLayer, drawn, edgeKey, createEdge, (group, edge) => updateEdge(group, edge, selected));
  }

  new ResizeObserver(() => {
    if (last && element.clientWidth !== shown.width) update(...last);
  }).observe(element);
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !last?.[1].focus) return;
    const [namespace, workload] = last[1].focus.split('/');
    go({ focus: workload ? namespace : '' });
  });
  return { element, update };
}
