// Where things are on the map: in columns, callers left of whom they call. Pure.

import { itemKey } from './words.js';

export const HEIGHT = 44;
const GAP = 18;
const LANE = 4;
const WIDEST = 216;
const SWEEPS = 8;

// How narrow an item may get, how far columns are apart at least, and what is left around all: on a large screen, and a small one.
const LARGE = { narrowest: 124, between: 64, margin: 14 };
const SMALL = { narrowest: 88, between: 30, margin: 10 };
const SMALLEST_LARGE = 520;

// Of so many edges at most, each has a way of its own.
const FEW = 80;

// Where on its curve a text stands, the best place first; how high it is.
const SPOTS = [0.5, 0.36, 0.64, 0.24, 0.76];
const TEXT = 13;

// The items of edges, with what goes out of and comes into each.
export function gather(edges) {
  const items = new Map();
  const add = (item) => {
    const key = itemKey(item);
    if (!items.has(key)) items.set(key, { key, item, out: [], in: [], flows: 0, denied: 0, bytesPerSecond: 0, within: null });
    return items.get(key);
  };
  for (const edge of edges) {
    const [from, to] = [add(edge.from), add(edge.to)];
    for (const one of new Set([from, to])) {
      one.flows += edge.flows;
      one.denied += edge.denied;
      one.bytesPerSecond += edge.bytesPerSecond;
    }
    if (from === to) from.within = edge;
    else {
      from.out.push(to);
      to.in.push(from);
    }
  }
  return items;
}

// An order in which as few as possible are called by one that comes later.
function order(items) {
  const rest = new Set(items);
  const degree = (list) => list.reduce((sum, one) => sum + (rest.has(one) ? 1 : 0), 0);
  const [head, tail] = [[], []];
  while (rest.size) {
    let best = null;
    for (const one of rest) {
      const [outs, ins] = [degree(one.out), degree(one.in)];
      if (outs === 0 && ins > 0) {
        tail.unshift(one);
        rest.delete(one);
      } else if (ins === 0) {
        head.push(one);
        rest.delete(one);
      } else if (!best || outs - ins > best.gain) best = { one, gain: outs - ins };
      else continue;
      if (!rest.has(one)) best = null;
    }
    if (best && rest.has(best.one)) {
      head.push(best.one);
      rest.delete(best.one);
    }
  }
  return [...head, ...tail];
}

function rank(items) {
  const ordered = order(items);
  ordered.forEach((one, index) => { one.index = index; one.rank = 0; });
  for (const one of ordered) {
    for (const to of one.out) if (to.index > one.index) to.rank = Math.max(to.rank, one.rank + 1);
  }
  // Who only calls stands beside those that it calls.
  for (const one of ordered) {
    if (!one.in.length && one.out.length) one.rank = Math.max(0, Math.min(...one.out.map((to) => to.rank)) - 1);
  }
}

// What is near to each other stands at the same height, so that edges cross less.
function sort(columns) {
  const place = () => columns.forEach((column) => column.forEach((one, index) => { one.row = index - column.length / 2; }));
  const mean = (one) => (one.near.length ? one.near.reduce((sum, other) => sum + other.row, 0) / one.near.length : one.row);
  place();
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const ordered = sweep % 2 ? [...columns].reverse() : columns;
    for (const column of ordered) {
      for (const one of column) one.weight = mean(one);
      column.sort((a, b) => a.weight - b.weight || (a.key < b.key ? -1 : 1));
      place();
    }
  }
}

// Edges over more than one column get a lane in each between, as long as there are few: they do not cross items then.
function findLanes(all, columns) {
  for (const one of all) one.near = [];
  const lanes = new Map();
  const count = all.reduce((sum, one) => sum + one.out.length, 0);
  for (const from of all) {
    for (const to of from.out) {
      const [key, way] = [`${from.key} > ${to.key}`, Math.sign(to.column - from.column)];
      const own = [];
      for (let at = from.column + way; way && at !== to.column && count <= FEW; at += way) {
        const lane = { key: `${key} ${at}`, height: LANE, near: [] };
        columns[at].push(lane);
        own.push(lane);
      }
      const chain = [from, ...own, to];
      chain.slice(1).forEach((one, index) => {
        one.near.push(chain[index]);
        chain[index].near.push(one);
      });
      if (own.length) lanes.set(key, own);
    }
  }
  return lanes;
}

// Gives every item its place in so much width. Returns how high that is, how far columns are apart, and the lanes.
export function arrange(items, width) {
  const all = [...items.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  if (!all.length) return { height: 0, between: 0, lanes: new Map() };
  rank(all);
  const { narrowest, between, margin } = width < SMALLEST_LARGE ? SMALL : LARGE;
  const space = width - 2 * margin;
  const most = Math.max(1, Math.floor((space + between) / (narrowest + between)));
  const ranks = Math.max(...all.map((one) => one.rank)) + 1;
  const count = Math.min(most, ranks);
  const columns = Array.from({ length: count }, () => []);
  for (const one of all) {
    one.column = Math.min(count - 1, Math.floor((one.rank * count) / ranks));
    one.height = HEIGHT;
    columns[one.column].push(one);
  }
  const lanes = findLanes(all, columns);
  sort(columns);
  const wide = Math.min(WIDEST, (space - (count - 1) * between) / count);
  const step = count > 1 ? (space - wide) / (count - 1) : 0;
  const high = (column) => column.reduce((sum, one) => sum + one.height + GAP, -GAP);
  const height = Math.max(...columns.map(high)) + 2 * margin;
  columns.forEach((column, at) => {
    let y = (height - high(column)) / 2;
    for (const one of column) {
      const x = Math.round(margin + (count > 1 ? at * step : (space - wide) / 2));
      Object.assign(one, { x, y: Math.round(y), width: Math.round(wide) });
      y += one.height + GAP;
    }
  });
  return { height, between, lanes };
}

function bend(start, end) {
  const by = (end[0] - start[0]) * 0.45;
  return [start, [start[0] + by, start[1]], [end[0] - by, end[1]], end];
}

// The way of an edge between two items: curves one after the other, of four points each.
export function route(from, to, between, lanes = []) {
  const middle = HEIGHT / 2;
  if (from.column === to.column) {
    const x = from.x + from.width;
    const bulge = Math.min(between * 0.9, 22 + Math.abs(from.y - to.y) * 0.12);
    return [[[x, from.y + middle + 6], [x + bulge, from.y + middle], [x + bulge, to.y + middle], [x, to.y + middle - 6]]];
  }
  const forward = from.column < to.column;
  const [near, far] = forward ? [(one) => one.x, (one) => one.x + one.width] : [(one) => one.x + one.width, (one) => one.x];
  const shift = middle + (forward ? -3 : 7);
  const curves = [];
  let at = [far(from), from.y + shift];
  for (const lane of lanes) {
    const [start, end] = [[near(lane), lane.y + LANE / 2], [far(lane), lane.y + LANE / 2]];
    curves.push(bend(at, start), bend(start, end));
    at = end;
  }
  return [...curves, bend(at, [near(to), to.y + shift])];
}

export function path(curves) {
  return `M${curves[0][0]}${curves.map(([, b, c, d]) => `C${b} ${c} ${d}`).join('')}`;
}

// A point of a way: 0 is its beginning, 1 its end.
export function point(curves, at) {
  const index = Math.min(curves.length - 1, Math.floor(at * curves.length));
  const [part, points] = [at * curves.length - index, curves[index]];
  const rest = 1 - part;
  const weights = [rest ** 3, 3 * rest ** 2 * part, 3 * rest * part ** 2, part ** 3];
  return [0, 1].map((axis) => Math.round(points.reduce((sum, one, number) => sum + one[axis] * weights[number], 0)));
}

// Where texts of some widths can stand beside ways so that none covers another, or one of these boxes: by key, [x, y].
export function labels(texts, boxes) {
  const [placed, places] = [[...boxes], new Map()];
  for (const { key, curves, width } of texts) {
    for (const at of SPOTS) {
      const [x, y] = point(curves, at);
      const box = [x - width / 2, y - TEXT - 3, x + width / 2, y - 2];
      if (placed.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      placed.push(box);
      places.set(key, [x, y]);
      break;
    }
  }
  return places;
}
