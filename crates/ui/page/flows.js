// The flows, live, as a table. While somebody points at it, it does not move.

import { h, reconcile, replace, setAttribute, setClass, setText } from './dom.js';
import { ago, bytes, count, endName, microseconds, plural, portName, rate, socket } from './format.js';
import { flowKey } from './inspect.js';
import { verdict, verdictWord } from './words.js';

const COLUMNS = [
  ['Verdict', 'col-verdict'], ['Client → server', 'col-flow'], ['Port', 'col-port'], ['State', 'col-state'], ['Sent', 'number col-sent'],
  ['Received', 'number col-received'], ['Rate', 'number col-rate'], ['RTT', 'number col-rtt'], ['Last', 'number col-last'],
];

function state(flow) {
  if (flow.state === 'denied') return flow.reason ?? 'denied';
  return flow.ended && flow.state !== 'closed' ? `${flow.state}, over` : flow.state;
}

export function createFlows(inspect, { label = 'Flows' } = {}) {
  const body = h('tbody');
  const held = h('span', { class: 'badge', hidden: true }, 'Stands still while you are in it');
  const note = h('p', { class: 'note more', hidden: true });
  const scroll = h('div', { class: 'scroll flow-scroll', tabindex: '0', role: 'region', 'aria-label': label }, h('table', { class: 'flows' },
    h('thead', {}, h('tr', {}, COLUMNS.map(([title, kind]) => h('th', { scope: 'col', class: kind }, title)))), body));
  const element = h('div', { class: 'flow-table' }, scroll, note);
  let pointed = false;
  let waiting = null;
  let current = null;

  const isHeld = () => pointed || body.contains(document.activeElement);
  const release = () => {
    if (isHeld() || !waiting) return;
    const next = waiting;
    waiting = null;
    update(...next);
  };
  scroll.addEventListener('pointerenter', (event) => { pointed = event.pointerType === 'mouse'; });
  scroll.addEventListener('pointerleave', () => { pointed = false; release(); });
  scroll.addEventListener('focusout', () => setTimeout(release));

  const rows = () => [...body.rows];
  body.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = rows().findIndex((row) => row.contains(document.activeElement));
    const next = step && rows()[at + step];
    if (!next) return;
    event.preventDefault();
    rove(next);
    next.open.focus();
  });
  // One row alone is reached by Tab; arrows go on from there.
  const rove = (row) => rows().forEach((one) => setAttribute(one.open, 'tabindex', one === row ? 0 : -1));

  function create() {
    const parts = COLUMNS.map(([, kind]) => h('td', { class: kind }));
    const open = h('button', { type: 'button', class: 'cell', tabindex: '-1' });
    const [client, server, via, port] = ['end', 'end', '', 'small-port'].map((kind) => h('span', { class: kind }));
    parts[0].append(open);
    parts[1].append(h('span', { class: 'ends' }, client, h('span', { class: 'to' }, '→'), h('span', { class: 'server' }, server, h('span', { class: 'via' }, port, via))));
    const row = h('tr', {}, parts);
    row.addEventListener('click', () => {
      if (getSelection().isCollapsed) inspect({ kind: 'flow', key: row.key });
    });
    return Object.assign(row, { parts, open, client, server, via, port, said: '' });
  }

  function updateRow(row, flow, selected) {
    const { parts, open } = row;
    if (row.said !== flow.verdict) {
      row.said = flow.verdict;
      replace(open, verdict(flow.verdict));
    }
    setAttribute(open, 'aria-label', `${verdictWord(flow.verdict)}: ${endName(flow.client)} to ${endName(flow.backend)} ${portName(flow)}`);
    setText(row.client, endName(flow.client));
    setAttribute(row.client, 'title', socket(flow.client));
    setText(row.server, endName(flow.backend));
    setAttribute(row.server, 'title', socket(flow.backend));
    setText(row.via, flow.service ? `via ${flow.service}` : flow.endpointOf.length ? `of ${flow.endpointOf.join(', ')}` : '');
    setText(row.port, `${portName(flow)} `);
    const denied = flow.state === 'denied';
    const texts = [
      portName(flow), state(flow), denied ? plural(flow.clientPackets, 'packet') : bytes(flow.clientBytes),
      denied ? '' : bytes(flow.serverBytes), rate(flow.bytesPerSecond), microseconds(flow.roundTripMicroseconds), ago(flow.lastSeconds),
    ];
    texts.forEach((text, index) => setText(parts[index + 2], text));
    const isSelected = selected?.kind === 'flow' && selected.key === flowKey(flow);
    setClass(row, 'is-selected', isSelected);
    setClass(row, 'is-denied', flow.verdict === 'deny');
    setClass(row, 'is-over', flow.ended);
  }

  function update(list, selected) {
    if (isHeld() && current) {
      waiting = [list, selected];
      held.hidden = false;
      // What is there is brought up to date where it is.
      const byKey = new Map(list.flows.map((flow) => [flowKey(flow), flow]));
      for (const row of rows()) {
        const flow = byKey.get(row.key);
        if (flow) updateRow(row, flow, selected);
        else setClass(row, 'is-selected', selected?.key === row.key);
      }
      return;
    }
    held.hidden = true;
    current = list;
    reconcile(body, list.flows, flowKey, create, (row, flow) => {
      row.key = flowKey(flow);
      updateRow(row, flow, selected);
    });
    if (!rows().some((row) => row.open.tabIndex === 0)) rows()[0]?.open.setAttribute('tabindex', 0);
    const rest = list.matching - list.flows.length;
    note.hidden = rest <= 0;
    setText(note, `The last ${count(list.flows.length)} of ${plural(list.matching, 'flow')}: a filter shows others.`);
  }
  return { element, held, update };
}
