// Asking midokube. Of each question the last answer is kept, and nothing else.

const PATIENCE = 45_000;

// What is known: by address, { version, document, error, at }.
export const known = new Map();

// What went wrong with the last question to midokube itself; null: nothing.
export const link = { error: null, at: 0 };

export class Refused extends Error {}

// The answer to one question; null: it is the one that was seen.
export async function fetchOne(path, seen) {
  const address = seen ? `${path}${path.includes('?') ? '&' : '?'}seen=${seen}` : path;
  const response = await fetch(address, { signal: AbortSignal.timeout(PATIENCE), cache: 'no-store' });
  if (response.status === 204) return null;
  const version = response.headers.get('midokube-version');
  if (response.ok) return { version, document: await response.json() };
  throw new Refused((await response.text()).trim() || `midokube answers ${response.status}`);
}

// Asks, and keeps the answer; returns whether it is another one.
export async function ask(path) {
  const before = known.get(path);
  try {
    const answer = await fetchOne(path, before?.document ? before.version : null);
    link.error = null;
    link.at = Date.now();
    if (answer) known.set(path, { ...answer, error: null });
    else if (before?.error) known.set(path, { ...before, error: null });
    return answer !== null;
  } catch (error) {
    if (error instanceof Refused) {
      link.error = null;
      link.at = Date.now();
      known.set(path, { ...before, error: error.message });
    } else {
      link.error = error.name === 'TimeoutError' ? 'midokube does not answer' : 'midokube cannot be reached';
    }
    return true;
  }
}

// Forgets all but these.
export function keep(paths) {
  for (const path of known.keys()) if (!paths.includes(path)) known.delete(path);
}
