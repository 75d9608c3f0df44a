// What is selected, in detail: a flow, or an edge of the map.

import { command, facts, h, replace } from './dom.js';
import { bytes, clock, count, endName, microseconds, plural, portName, rate, seconds, ago, socket } from './format.js';
import { itemLink, viewAddress } from './links.js';
import { quoted } from './state.js';
import { traceOf } from './trace.js';
import { decision, edgeKey, edgeVerdict, verdict } from './words.js';

export function flowKey(flow) {
  return `${flow.nodes[0] ?? ''} ${flow.id}`;
}

function podLink(end) {
  if (!end.pod) return socket(end);
  return h('span', {}, h('a', { href: viewAddress('pod', end.pod) }, end.pod), ` ${socket(end)}`);
}

// Where the packet of a denied connection is traced.
function traceLink(flow) {
  if (!flow.client.pod || (flow.backend.port === null && flow.protocol !== 'icmp')) return null;
  if (flow.service) return traceLinkTo(flow, `service/${flow.service}`, `${flow.protocol}/${flow.frontend.port}`);
  return traceLinkTo(flow, endName(flow.backend), flow.protocol === 'icmp' ? 'icmp' : portName(flow));
}

function traceLinkTo(flow, to, port) {
  return h('a', { href: viewAddress('pod', flow.client.pod, traceOf(to, port)) }, 'Trace it');
}

// The command that says why a connection passes or not.
function explain(flow) {
  if (flow.backend.port === null && flow.protocol !== 'icmp') return null;
  const port = flow.protocol === 'icmp' ? 'icmp' : portName(flow);
  return command(`midokube policy explain ${quoted(endName(flow.source))} ${quoted(endName(flow.backend))} ${port}`);
}

function time(milliseconds, text) {
  return h('time', { datetime: text, title: text }, clock(milliseconds ? new Date(milliseconds).toISOString() : text));
}

function flowDetails(flow) {
  const asked = flow.service || socket(flow.frontend) !== socket(flow.backend);
  const denied = flow.state === 'denied';
  return [
    h('h2', {}, endName(flow.client), h('span', { class: 'to' }, ' → '), endName(flow.backend)),
    h('p', { class: 'lead' }, verdict(flow.verdict), flow.reason ? h('code', { class: 'reason' }, flow.reason) : null,
      h('span', { class: 'note' }, portName(flow))),
    flow.why ? h('p', { class: 'why' }, flow.why) : null,
    facts([
      ['Client', podLink(flow.client)],
      ['Asked for', asked ? `${flow.service ?? ''} ${socket(flow.frontend)}`.trim() : null],
      ['Client seen as', socket(flow.source) !== socket(flow.client) ? socket(flow.source) : null],
      ['Server', podLink(flow.backend)],
      ['Endpoint of', flow.endpointOf.join(', ')],
      ['State', denied ? null : `${flow.state}${flow.ended ? ', over' : ''}`],
      ['Policy, client’s', decision(flow.egress, 'egress')],
      ['Policy, server’s', decision(flow.ingress, 'ingress')],
      [denied ? 'Dropped' : 'Sent', `${plural(flow.clientPackets, 'packet')}, ${bytes(flow.clientBytes)}`],
      ['Received', denied ? null : `${plural(flow.serverPackets, 'packet')}, ${bytes(flow.serverBytes)}`],
      ['Rate', rate(flow.bytesPerSecond)],
      ['Round trip', microseconds(flow.roundTripMicroseconds)],
      ['Began', h('span', {}, flow.late ? 'before ' : '', time(denied ? 0 : flow.beganMilliseconds, flow.began))],
      ['Last packet', h('span', {}, time(flow.lastMilliseconds, flow.last), `, ${ago(flow.lastSeconds)}`)],
      ['Seen by', flow.nodes.join(', ')],
    ]),
    flow.verdict === 'allow' ? null : explain(flow),
    flow.verdict === 'allow' ? null : traceLink(flow),
  ];
}

function edgeDetails(edge, state) {
  return [
    h('h2', {}, itemLink(state, edge.from), h('span', { class: 'to' }, ' → '), itemLink(state, edge.to)),
    h('p', { class: 'lead' }, verdict(edgeVerdict(edge)),
      edge.reasons.map((reason) => h('code', { class: 'reason' }, reason))),
    facts([
      ['Flows', count(edge.flows)],
      ['Allowed', count(edge.allowed)],
      ['Denied', edge.denied ? `${count(edge.denied)}, ${plural(edge.droppedPackets, 'packet')} dropped` : null],
      ['Audited', edge.audited ? count(edge.audited) : null],
      ['Ports', edge.ports.join(', ') + (edge.morePorts ? ' and others' : '')],
      ['Services', edge.services.join(', ')],
      ['Rate', rate(edge.bytesPerSecond) || 'nothing now'],
      ['Round trip, median', microseconds(edge.roundTripMicroseconds)],
      ['Last packet', edge.lastSeconds === 0 ? 'now' : `${seconds(edge.lastSeconds)} ago`],
    ]),
  ];
}

export function createInspector(close) {
  const content = h('div', { class: 'inspected' });
  const element = h('aside', { class: 'card inspector', 'aria-label': 'Details', tabindex: '-1', hidden: true },
    h('button', { type: 'button', class: 'quiet close', 'aria-label': 'Close the details', onclick: close }, '✕'), content);
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') close();
  });
  let last = null;
  // What is gone meanwhile is shown as it was last.
  const update = (selected, flows, edges, state) => {
    element.hidden = !selected;
    if (!selected) {
      last = null;
      return;
    }
    const found = selected.kind === 'flow'
      ? flows.find((flow) => flowKey(flow) === selected.key)
      : edges.find((edge) => edgeKey(edge) === selected.key);
    const text = JSON.stringify([selected, found]);
    if ((found && text !== last) || last === null) {
      last = text;
      const kept = found ? (selected.kind === 'flow' ? flowDetails(found) : edgeDetails(found, state)) : [h('p', {}, 'It is gone.')];
      // A selected text and the focus stay as long as nothing changes.
      replace(content, kept);
    }
  };
  return { element, update };
}
