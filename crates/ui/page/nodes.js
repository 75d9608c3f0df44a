// The nodes, and one node.

import { facts, h, replace, section, table } from './dom.js';
import { bits, bytes, count, plural, seconds } from './format.js';
import { viewAddress } from './links.js';

const FULL = 80;

export function nodeLink(name) {
  return h('a', { href: viewAddress('node', name) }, name);
}

function podLink(namespace, name) {
  return h('a', { href: viewAddress('pod', `${namespace}/${name}`) }, `${namespace}/${name}`);
}

function condition(kind, word) {
  return h('span', { class: `condition condition-${kind}` }, h('span', { class: 'dot', 'aria-hidden': 'true' }), word);
}

function nodeCondition({ error, ready, problems }) {
  if (error) return condition('bad', 'Unreachable');
  if (!ready) return condition('bad', 'Not ready');
  return problems ? condition('warn', 'Degraded') : condition('good', 'Ready');
}

function share({ used, limit }) {
  return limit ? Math.round((used / limit) * 100) : 0;
}

function meter(one) {
  const percent = share(one);
  const bar = h('span', { class: 'bar' }, h('span', { class: 'bar-fill' }));
  bar.firstChild.style.width = `${Math.min(100, percent)}%`;
  return h('span', { class: `meter${percent >= FULL ? ' is-full' : ''}` }, bar, h('span', {}, `${percent} %${percent >= FULL ? ', nearly full' : ''}`));
}

export function createNodes() {
  const element = h('div', { class: 'view' });
  const update = (state, documents) => {
    const { document, error } = documents.get('/api/nodes') ?? {};
    if (!document) return replace(element, h('p', { class: 'empty' }, error ?? 'Asking the nodes …'));
    const rows = document.nodes.map((node) => [
      nodeLink(node.node), nodeCondition(node), count(node.pods), node.podCIDRs.join(', '),
      node.fullestTable ? h('span', { class: 'pair' }, meter(node.fullestTable), h('span', { class: 'note' }, node.fullestTable.name)) : '',
      node.problems ? plural(node.problems, 'problem') : '', node.error ?? node.notReadyReason ?? '', node.version ?? '',
    ]);
    const columns = [['Node', ''], ['State', ''], ['Pods', 'number'], ['Pod CIDRs', ''], ['Fullest table', ''], ['Problems', ''], ['Why', 'wrap'], ['Version', '']];
    return replace(element, h('h1', {}, 'Nodes'), section('All nodes', plural(rows.length, 'node'),
      rows.length ? table('Nodes', columns, rows) : h('p', { class: 'empty' }, 'There is no node.')));
  };
  return { element, questions: () => [], update };
}

export function problems(list) {
  if (!list?.length) return null;
  return h('section', { class: 'card problems' }, h('div', { class: 'card-head' }, h('h2', {}, 'Problems'), h('span', { class: 'note' }, String(list.length))),
    h('ul', {}, list.map(({ what, object, problem, remedy }) => h('li', {},
      h('p', {}, h('code', { class: 'reason' }, what), ' ', h('b', {}, object)), h('p', {}, problem), h('p', { class: 'remedy' }, h('b', {}, 'Remedy: '), remedy)))));
}

function pressure(document) {
  const tables = [...(document.services?.tables ?? []), ...(document.policy?.tables ?? [])];
  tables.sort((a, b) => share(b) - share(a));
  if (!tables.length) return null;
  const rows = tables.map((one) => [one.name, meter(one), count(one.used), count(one.limit)]);
  return section('Tables of the datapath', 'the fullest first', table('Tables', [['Table', ''], ['Used', ''], ['Entries', 'number'], ['Space', 'number']], rows));
}

function counters(document) {
  const dropped = (document.counters ?? []).filter(({ verdict, packets }) => verdict === 'drop' && packets > 0);
  dropped.sort((a, b) => b.packets - a.packets);
  const rows = dropped.map(({ name, packets, bytes: size, help }) => [h('code', { class: 'reason' }, name), count(packets), bytes(size), help]);
  return section('Drops by reason', 'since the datapath was set up', rows.length
    ? table('Drops by reason', [['Reason', ''], ['Packets', 'number'], ['Bytes', 'number'], ['Meaning', 'wrap']], rows)
    : h('p', { class: 'empty' }, 'Nothing was dropped.'));
}

function ports(document) {
  const rows = (document.ports ?? []).map((port) => [
    podLink(port.namespace, port.name), port.addresses.join(', '), h('code', {}, port.hostIfname),
    bytes(port.sent?.bytes), bytes(port.received?.bytes),
    port.bandwidth ? [port.bandwidth.ingressRate, port.bandwidth.egressRate].map((rate) => (rate ? bits(rate) : 'no limit')).join(' in, ') + ' out' : '',
  ]);
  const columns = [['Pod', ''], ['Addresses', ''], ['Interface', ''], ['Sent', 'number'], ['Received', 'number'], ['Limits', '']];
  return section('Ports', plural(rows.length, 'Pod'), rows.length ? table('Ports', columns, rows) : h('p', { class: 'empty' }, 'No Pod is on this node.'));
}

export function createNode() {
  const element = h('div', { class: 'view' });
  const path = (state) => `/api/node?${new URLSearchParams({ name: state.name })}`;
  let shown = null;
  const update = (state, documents) => {
    const { document, error } = documents.get(path(state)) ?? {};
    const text = JSON.stringify([state.name, document, error]);
    if (text === shown) return undefined;
    shown = text;
    const head = h('h1', {}, h('a', { href: '/?view=nodes' }, 'Nodes'), h('span', { class: 'to' }, ' / '), state.name);
    if (!document) {
      return replace(element, head, error ? h('div', { class: 'empty', 'data-empty': 'unreachable' }, h('h3', {}, 'This node cannot be asked'), h('p', {}, error))
        : h('p', { class: 'empty' }, 'Asking the node …'));
    }
    const { agent, network } = document;
    const peers = (document.peers ?? []).map((peer) => [nodeLink(peer.node), peer.podCIDRs.join(', '), peer.tunnelAddress ?? '']);
    const leaks = (document.leaks ?? []).map(({ what, object, reason, remedy }) => ({ what, object, problem: reason, remedy }));
    return replace(element, head,
      error ? h('p', { class: 'banner banner-warn' }, `This is what it said before: ${error}`) : null,
      section('Agent', null, facts([
        ['State', nodeCondition({ ready: agent.ready, problems: document.problems?.length })], ['Why not', agent.notReadyReason],
        ['Version', agent.version], ['Running for', seconds(agent.uptimeSeconds)], ['Objects from', agent.source],
        ['Its trouble', agent.sourceError], ['Network', network.kind], ['Pod CIDRs', network.podCIDRs.join(', ')],
        ['Gateways', network.gateways.join(', ')], ['Node addresses', network.nodeAddresses.join(', ')], ['MTU', network.mtu],
        ['Uplink', network.uplink], ['Tunnel end', network.tunnelAddress], ['Tunnel headers by', network.encapsulation],
        ['Cluster CIDRs', network.clusterCIDRs.join(', ')],
      ])),
      problems(document.problems),
      h('div', { class: 'columns' }, pressure(document), counters(document)),
      ports(document),
      section('Peers', plural(peers.length, 'node'), peers.length ? table('Peers', [['Node', ''], ['Pod CIDRs', ''], ['Tunnel end', '']], peers)
        : h('p', { class: 'empty' }, 'It knows no other node.')),
      leaks.length ? section('Leaks', 'what was left behind and is not repaired by itself', problems(leaks).lastChild) : null);
  };
  return { element, questions: (state) => [path(state)], update };
}
