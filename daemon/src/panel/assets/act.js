// Commands: each is sent with an id of its own, so that one that is sent twice is obeyed once.
const STOP_TRIES = 20;
const under = new Set();
const told = () => document.getElementById('told');
const jump = (url, how = {}) => document.dispatchEvent(new CustomEvent('go', { detail: { url, ...how } }));

function newId() {
  // Plain HTTP in a studio's network is no secure context, where there is no randomUUID.
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// What happened, why it matters, what to do: above the control that caused it, until it is no longer true.
export function tell({ what, why, todo, rule }) {
  const [whatIs, whyIs, todoIs] = document.body.dataset.three.split('|');
  const part = (name, text) => text ? [element('div', {}, element('dt', {}, name), element('dd', {}, text))] : [];
  const list = element('dl', { class: 'three' }, ...part(whatIs, what), ...part(whyIs, why), ...part(todoIs, todo));
  told()?.replaceChildren(element('div', { class: 'card refusal' }, list, ...(rule ? [element('p', { class: 'code-line' }, rule)] : [])));
}

function unreached() {
  const [what, why, todo] = document.body.dataset.unreached.split('|');
  tell({ what, why, todo });
}

async function problem(answer) {
  const said = await answer.json().catch(() => ({}));
  tell({ what: said.what ?? said.detail ?? said.title ?? `${answer.status}`, why: said.why, todo: said.todo, rule: said.rule });
}

const post = (address, body, more = {}) => fetch(address, {
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), ...more,
});

async function persistently(address, body, tries, more) {
  for (let nth = 1; ; nth += 1) {
    try {
      // A connection that hangs is tried again like one that broke.
      const answer = await post(address, body, { ...more, signal: AbortSignal.timeout(4000) });
      if (answer.status !== 503 || nth >= tries) return answer;
    } catch (failure) {
      if (nth >= tries) throw failure;
    }
    await new Promise(resolve => setTimeout(resolve, 300));
  }
}

// What comes before a start: the item that was scanned still waits for it.
const BEFORE = ['arm', 'disarm', 'test-emergency-stop'];

// Where the page stands once the station has obeyed: nothing chosen but the camera.
function settled(act) {
  const asked = new URLSearchParams(location.search), kept = new URLSearchParams();
  for (const name of BEFORE.includes(act) ? ['item', 'recipe', 'camera'] : ['camera']) {
    if (asked.get(name)) kept.set(name, asked.get(name));
  }
  return `/?${kept}`.replace(/\?$/, '');
}

export async function send(act, body = {}, then = null) {
  const stop = act === 'stop';
  if (under.has(act) && !stop) return;
  under.add(act);
  document.body.classList.add(`does-${act}`);
  try {
    const address = act === 'sign-out' ? '/api/v1/sign-out' : `/api/v1/commands/${act}`;
    const answer = await persistently(address, { ...body, id: newId() }, stop ? STOP_TRIES : 3, { keepalive: true });
    if (answer.status === 401 || (act === 'sign-out' && answer.ok)) return location.assign('/sign-in');
    if (!answer.ok) return await problem(answer);
    told()?.replaceChildren();
    if (then) location.assign(then);
    else if (!stop && document.body.matches('.op')) jump(settled(act), { instead: true });
  } catch {
    unreached();
  } finally {
    under.delete(act);
    document.body.classList.remove(`does-${act}`);
  }
}

const bodyOf = button => JSON.parse(button.dataset.body || '{}');
let stoppedAt = 0;

function stop() {
  // A press is a pointer and a click; one of them is enough.
  if (performance.now() - stoppedAt < 400) return;
  stoppedAt = performance.now();
  send('stop');
}

document.addEventListener('pointerdown', e => { if (e.target.closest('[data-act=stop]')) stop(); }, true);
document.addEventListener('keydown', e => {
  if (e.key !== 'Escape') return;
  const close = document.querySelector('[data-close]');
  if (document.querySelector('[data-act=stop]')) { e.preventDefault(); stop(); }
  else if (close) { e.preventDefault(); close.click(); document.querySelector('.fr[tabindex="0"]')?.focus(); }
}, true);
document.addEventListener('click', e => {
  const button = e.target.closest('button');
  if (!button) return;
  if (button.hasAttribute('data-reveal')) return reveal(button);
  if (!button.dataset.act || button.getAttribute('aria-disabled') === 'true') return;
  if (button.dataset.act === 'stop') return stop();
  send(button.dataset.act, bodyOf(button), button.dataset.then);
});
document.addEventListener('submit', async e => {
  const form = e.target, entered = Object.fromEntries(new FormData(form));
  if (form.dataset.form === 'keep') {
    e.preventDefault();
    send('release', { accept: { name: entered.name, reason: entered.reason } });
  }
  if (form.dataset.form === 'arm') {
    e.preventDefault();
    send('arm', { code: entered.code });
  }
  if (form.dataset.form === 'sign-in') {
    e.preventDefault();
    try {
      const answer = await post('/api/v1/sign-in', entered);
      if (answer.ok) location.assign('/'); else await problem(answer);
    } catch { unreached(); }
  }
});
// A refusal is about the state in which it was given.
document.addEventListener('patched', e => { if (e.detail === 'act') told()?.replaceChildren(); });

function reveal(button) {
  const field = button.parentElement.querySelector('input');
  const shown = field.type === 'text';
  field.type = shown ? 'password' : 'text';
  button.setAttribute('aria-pressed', `${!shown}`);
}
document.querySelectorAll('[data-reveal]').forEach(button => { button.hidden = false; });
