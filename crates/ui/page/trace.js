// What becomes of a packet of a Pod: asked for once, by whoever wants to know, and judged by the nodes' own programs.

import { Refused, fetchOne } from './ask.js';
import { command, h, replace, section, table } from './dom.js';
import { go, quoted } from './state.js';
import { verdict } from './words.js';

// A trace in the address bar: to whom, and the port.
export function traceOf(to, port) {
  return `${to} ${port}`;
}

function parts(trace) {
  const [to = '', port = ''] = trace.split(' ');
  return { to, port };
}

function ends({ source, sourcePort, destination, destinationPort }) {
  const socket = (address, port) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
  return `${socket(source, sourcePort)} → ${socket(destination, destinationPort)}`;
}

function hop(one) {
  const rows = one.steps.map(({ what, detail }) => [what, detail]);
  return h('div', { class: 'hop' },
    h('h3', {}, `On node ${one.node} `, h('span', { class: 'note' }, ends(one.sent))),
    table(`On node ${one.node}`, [['Step', 'narrow'], ['What it does', 'wrap']], rows));
}

function path({ what, trace, lines }) {
  const hops = trace.hops?.map(hop) ?? [h('ol', { class: 'hop lines' }, lines.map((line) => h('li', {}, line)))];
  return h('div', { class: 'hops' }, h('h3', { class: 'what' }, `The ${what}`), hops);
}

function result({ outcome, from, to, parts: all }) {
  const { answered, why, reason, remedy } = outcome;
  return [
    h('p', { class: 'lead' }, verdict(answered ? 'allow' : 'deny'),
      !answered && reason ? h('code', { class: 'reason' }, reason) : null,
      h('span', { class: 'note' }, `${from.address} → ${to.address}`)),
    h('p', { class: answered ? 'outcome' : 'why' }, why),
    remedy ? h('p', { class: 'remedy' }, h('b', {}, 'Remedy: '), remedy) : null,
    all.map(path),
  ];
}

export function createTrace() {
  const [to, port] = [h('input', { 'aria-label': 'To', placeholder: 'namespace/pod, service/namespace/name, address', required: true }),
    h('input', { 'aria-label': 'Protocol and port', class: 'short', placeholder: 'tcp/80', required: true })];
  const form = h('form', { class: 'trace-form' }, h('label', {}, 'To ', to), h('label', {}, 'Port ', port), h('button', {}, 'Trace'));
  const answer = h('div', { class: 'trace-answer', 'aria-live': 'polite' });
  const element = section('Trace a packet', 'judged by the programs in the kernels of the nodes; nothing is sent', form, answer);
  let [asked, pod] = [null, ''];

  const ask = async (name, trace) => {
    asked = `${name} ${trace}`;
    const mine = asked;
    const packet = parts(trace);
    replace(answer, h('p', { class: 'note' }, 'Asking the nodes on its path …'));
    let shown;
    try {
      const { document } = await fetchOne(`/api/trace?${new URLSearchParams({ name, ...packet })}`);
      shown = result(document);
    } catch (error) {
      const text = error instanceof Refused ? error.message : 'midokube cannot be reached';
      shown = [h('p', { class: 'why' }, `It cannot be told: ${text}`)];
    }
    if (asked === mine) replace(answer, ...shown.flat(), command(['midokube', 'trace', name, packet.to, packet.port].map(quoted).join(' ')));
  };

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const trace = traceOf(to.value.trim(), port.value.trim());
    asked = null;
    go({ trace });
    // The same again is no other address.
    if (asked === null) ask(pod, trace);
  });

  const update = ({ name, trace }) => {
    pod = name;
    if (asked === `${name} ${trace}`) return;
    const packet = parts(trace);
    [to.value, port.value] = [packet.to, packet.port];
    if (trace) ask(name, trace);
    else {
      asked = `${name} ${trace}`;
      replace(answer);
    }
  };
  return { element, update };
}
