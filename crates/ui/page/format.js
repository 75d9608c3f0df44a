// Numbers, times and names as people read them.

const number = new Intl.NumberFormat('en');

export function count(value) {
  return number.format(value ?? 0);
}

export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function bytes(value) {
  if (value === null || value === undefined) return '';
  let rest = value;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (rest < 1024) return `${rest < 10 && unit !== 'B' ? rest.toFixed(1) : Math.round(rest)} ${unit}`;
    rest /= 1024;
  }
  return `${rest.toFixed(1)} TiB`;
}

export function rate(value) {
  return value > 0 ? `${bytes(value)}/s` : '';
}

export function bits(value) {
  let rest = value;
  for (const unit of ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s']) {
    if (rest < 1000) return `${Math.round(rest * 10) / 10} ${unit}`;
    rest /= 1000;
  }
  return `${Math.round(rest * 10) / 10} Tbit/s`;
}

export function microseconds(value) {
  if (value === null || value === undefined) return '';
  if (value < 1000) return `${value} µs`;
  return value < 10_000 ? `${(value / 1000).toFixed(1)} ms` : `${Math.round(value / 1000)} ms`;
}

export function seconds(value) {
  if (value === null || value === undefined) return '';
  if (value < 60) return `${value} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min`;
  if (value < 86_400) return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
  return `${Math.floor(value / 86_400)} d ${Math.floor((value % 86_400) / 3600)} h`;
}

export function ago(value) {
  return value === 0 ? 'now' : `${seconds(value)} ago`;
}

// The time of day of a time as RFC 3339 has it.
export function clock(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toLocaleTimeString('en-GB');
}

// What stands for an end that is not known.
const UNKNOWN = 'unknown';

export function socket(end) {
  if (!end.address) return UNKNOWN;
  if (end.port === null || end.port === undefined) return end.address;
  return end.address.includes(':') ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`;
}

// The Pod, or the address.
export function endName(end) {
  return end.pod ?? (end.address || UNKNOWN);
}

export function portName(flow) {
  const port = flow.backend.port;
  return port === null || port === undefined ? flow.protocol ?? '' : `${flow.protocol ?? '?'}/${port}`;
}
