// Talking to the studio's server. Errors come back as words for people.

class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const listeners = new Set();

/** Be told "up", "locked" (the server was started anew: its new link must be opened) or "down". */
export function onConnection(listener) {
  listeners.add(listener);
}

const tell = (state) => listeners.forEach((listener) => listener(state));

async function call(path, options, read) {
  let [response, found] = [];
  try {
    response = await fetch(path, { credentials: "same-origin", redirect: "error", ...options });
    if (response.ok) found = await read(response); // here: a studio that is killed can end in the middle of its answer
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell("down");
    throw new ApiError("The studio does not answer.", 0);
  }
  if (response.status === 401 || response.status === 403) {
    tell("locked");
    throw new ApiError("The studio was started anew: open the link that it printed.", response.status);
  }
  tell("up");
  if (response.ok) return found;
  const { error } = await response.json().catch(() => ({}));
  throw new ApiError(error ?? `The studio answered with ${response.status}.`, response.status);
}

const query = (parameters) => {
  const text = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null)).toString();
  return text ? `?${text}` : "";
};

const json = (response) => response.json();

/** Read JSON. */
export const get = (path, parameters = {}, signal) => call(path + query(parameters), { signal }, json);

/** Read bytes. */
export const bytes = (path, parameters = {}, signal) => call(path + query(parameters), { signal }, (response) => response.arrayBuffer());

const written = { "X-Lowerbound": "studio" };

function write(path, body, signal, read) {
  const headers = { ...written, "Content-Type": "application/json" };
  return call(path, { method: "POST", headers, body: JSON.stringify(body), signal }, read);
}

/** Send JSON, and read JSON. */
export const post = (path, body = {}, signal) => write(path, body, signal, json);

/**
 * Ask until the answer is ready: long work goes on in short turns while it is asked for, so that aborting stops it.
 * `waiting({words, done, of})` is told how far it is.
 */
export async function ready(path, parameters, signal, waiting, ask = get) {
  for (;;) {
    const found = await ask(path, parameters, signal);
    if (found.ready !== false) return found;
    waiting(found);
    await new Promise((done) => setTimeout(done, found.of ? 5 : 400));
  }
}

/** Send JSON, and read a file. */
export const file = (path, body = {}, signal) => write(path, body, signal, (response) => response.blob());

/** Send a file, and read JSON. */
export const upload = (path, blob, parameters = {}) =>
  call(path + query(parameters), { method: "POST", headers: { ...written, "Content-Type": blob.type || "application/octet-stream" }, body: blob }, json);

/**
 * Make a caller that never lags behind: while one call is under way only the newest of the others is kept, so that a
 * pointer that moves faster than the model decodes skips what it has passed already.
 */
export function newest(work, done, failed = () => {}) {
  let busy = false;
  let next = null;
  const told = (error) => error.name !== "AbortError" && failed(error);
  return async function ask(argument) {
    next = { argument };
    if (busy) return;
    busy = true;
    while (next) {
      const { argument: now } = next;
      next = null;
      try {
        Promise.resolve(done(await work(now), now)).catch(told); // not waited for: the next is asked for meanwhile
      } catch (error) {
        told(error);
      }
    }
    busy = false;
  };
}
