// The page: asks every second for what is looked at, and shows it.

import { ask, keep, known, link } from './ask.js';
import { h, reconcile, replace, setAttribute, setClass, setText } from './dom.js';
import { count, plural, seconds } from './format.js';
import { createInspector } from './inspect.js';
import { createNode, createNodes } from './nodes.js';
import { createPod } from './pod.js';
import { onChange, state } from './state.js';
import { createTraffic } from './traffic.js';

const PERIOD = 1000;
const NODES = '/api/nodes';

const main = document.getElementById('main');
const banners = document.getElementById('banners');
const age = document.getElementById('age');
const pause = document.getElementById('pause');
const tabs = [...document.querySelectorAll('[data-view]')];

let paused = false;
let selected = null;
let planned = false;
let shownView = null;
const asking = new Set();

const inspect = (what) => {
  selected = what;
  render();
  if (what) inspector.element.scrollIntoView({ block: 'nearest' });
};
const inspector = createInspector(() => inspect(null));
const views = {
  traffic: createTraffic(inspect, h('div', { class: 'side' })),
  nodes: createNodes(),
  node: createNode(),
  pod: createPod(inspect, h('div', { class: 'side' })),
};

function warnings() {
  const all = [];
  if (link.error) all.push(['lost', 'bad', `This page has lost midokube: ${link.error}. What is shown is as it was. If midokube ui has ended, start it again and open the address that it prints.`]);
  const documents = [...known.values()].map((one) => one.document).filter(Boolean);
  const flows = documents.find((one) => one.kind === 'FlowMap' || one.kind === 'Flows');
  const nodes = flows?.nodes ?? documents.find((one) => one.kind === 'Nodes')?.nodes ?? [];
  const silent = nodes.filter((node) => node.error);
  if (silent.length && silent.length < nodes.length) {
    const [first] = silent;
    const others = silent.length > 1 ? ` and ${plural(silent.length - 1, 'other node')}` : '';
    all.push(['silent', 'warn', `Nothing comes from ${first.node}${others}, the rest is shown: ${first.error}`]);
  }
  const lost = nodes.reduce((sum, node) => sum + (node.lostEvents ?? 0), 0);
  const unlisted = flows?.unlisted ?? 0;
  if (lost) all.push(['events', 'warn', `${count(lost)} events were too many at once: some flows may come later, or are missing.`]);
  if (unlisted) all.push(['unlisted', 'warn', `${count(unlisted)} flows were too many at once for midokube to be told: the counts are lower than they should be.`]);
  return all;
}

function render() {
  planned = false;
  const view = views[state.view];
  if (shownView !== state.view) {
    shownView = state.view;
    replace(main, view.element);
    view.element.querySelector('.side')?.append(inspector.element);
  }
  view.update(state, known, selected);
  inspector.update(selected, view.flowsShown?.(state, known) ?? [], view.edgesShown?.(state, known) ?? [], state);
  setClass(view.element, 'has-details', selected !== null);
  reconcile(banners, warnings(), ([key]) => key, () => h('p'), (banner, [, kind, text]) => {
    setAttribute(banner, 'class', `banner banner-${kind}`);
    setText(banner, text);
  });
  for (const tab of tabs) {
    const is = tab.dataset.view === state.view || (tab.dataset.view === 'nodes' && state.view === 'node');
    setAttribute(tab, 'aria-current', is ? 'page' : null);
  }
  document.title = [state.name || state.focus, 'midokube'].filter(Boolean).join(' - ');
  showAge();
}

// Many answers at once are shown at once.
function plan() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(render);
}

function showAge() {
  const behind = link.at ? Math.round((Date.now() - link.at) / 1000) : null;
  setText(age, paused ? 'Paused' : behind === null ? 'Asking …' : behind < 4 ? 'Live' : `${seconds(behind)} old`);
  setClass(age, 'is-live', !paused && behind !== null && behind < 4);
}

async function askOne(path) {
  if (asking.has(path)) return;
  asking.add(path);
  try {
    if (await ask(path)) plan();
  } finally {
    asking.delete(path);
  }
}

function askAll() {
  const paths = [NODES, ...views[state.view].questions(state)];
  keep(paths);
  for (const path of paths) askOne(path);
}

pause.addEventListener('click', () => {
  paused = !paused;
  setAttribute(pause, 'aria-pressed', paused);
  setText(pause, paused ? 'Go on' : 'Pause');
  if (!paused) askAll();
  showAge();
});

onChange((now, before) => {
  if (now.view !== before.view || now.name !== before.name || now.focus !== before.focus) {
    selected = null;
    scrollTo(0, 0);
  }
  askAll();
  render();
  if (now.view !== before.view) main.focus({ preventScroll: true });
});

addEventListener('visibilitychange', () => {
  if (!document.hidden && !paused) askAll();
});

setInterval(() => {
  if (!paused && !document.hidden) askAll();
  showAge();
}, PERIOD);

askAll();
render();
