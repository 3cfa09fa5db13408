// Keeps the page current, and turns its links into patches.
import { adopt, patch } from './patch.js';
import './act.js';
import './ring.js';
import './scan.js';
import './viewer.js';
import './wake.js';

const SILENT_MS = 5000;
const body = document.body;
let source, again, heardAt = performance.now(), figuresOf = '', gone = false;

function heard() {
  heardAt = performance.now();
  if (!body.classList.contains('is-lost')) return;
  body.classList.remove('is-lost');
  // The station does not know that this page said something else meanwhile.
  follow();
}

function lost() {
  if (body.classList.contains('is-lost')) return;
  body.classList.add('is-lost');
  const words = document.getElementById('status-words');
  if (!words) return;
  words.querySelector('p').textContent = body.dataset.lost.replace('{time}', figuresOf);
  // What is shown now is not what the station sent, so its next words are taken whatever they are.
  delete words.dataset.h;
}

function follow(rev) {
  source?.close();
  clearTimeout(again);
  const ask = new URLSearchParams(location.search);
  ask.set('page', body.dataset.stream);
  if (rev) ask.set('rev', rev);
  source = new EventSource(`/panel/stream?${ask}`);
  source.addEventListener('patch', e => { heard(); patch(JSON.parse(e.data)); titled(); });
  source.addEventListener('alive', e => {
    heard();
    const { clock, time } = JSON.parse(e.data);
    figuresOf = time;
    const shown = document.getElementById('clock');
    if (shown && shown.textContent !== clock) shown.textContent = clock;
  });
  // Not left to the browser: after a break nothing is known of what the page shows, so all is asked for anew.
  source.addEventListener('error', async () => {
    source.close();
    clearTimeout(again);
    if (gone) return;
    again = setTimeout(follow, 1000);
    // The stream does not say why it ended; the page does, when nobody is signed in any more.
    const answer = await fetch(location.href, { method: 'HEAD' }).catch(() => null);
    if (answer?.redirected && new URL(answer.url).pathname === '/sign-in') location.assign('/sign-in');
  });
}

function titled() {
  const first = document.querySelector('#status h1')?.textContent;
  if (first && !document.title.startsWith(`${first} · `)) document.title = `${first} · ${document.title.split(' · ').pop()}`;
}

// Shows another state of this page without loading it anew. `back` is a step in the history that was made already.
export async function go(url, { back = false, instead = false } = {}) {
  const to = new URL(url, location.href);
  try {
    const answer = await fetch(to, { headers: { accept: 'text/html' } });
    if (!answer.ok || new URL(answer.url).pathname !== to.pathname) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (!back) history[instead ? 'replaceState' : 'pushState'](null, '', to);
    adopt(page);
    follow(page.body.dataset.rev);
  } catch {
    location.assign(to);
  }
}

document.addEventListener('go', e => go(e.detail.url, e.detail));
document.addEventListener('click', e => {
  const link = e.target.closest('a[href]');
  if (!link || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || !body.matches('.op')) return;
  const href = link.getAttribute('href') ?? '';
  if (link.hasAttribute('data-reload') || !(href.startsWith('?') || href.startsWith('/?'))) return;
  e.preventDefault();
  go(href);
});
document.addEventListener('submit', e => {
  if (e.target.dataset.form !== 'item') return;
  e.preventDefault();
  go(`/?${new URLSearchParams(new FormData(e.target))}`);
});
addEventListener('popstate', () => body.matches('.op') && go(location.href, { back: true }));
addEventListener('pagehide', () => { gone = true; source?.close(); });
addEventListener('pageshow', e => { gone = false; if (e.persisted) follow(); });
// A page that nobody sees gives its connection back: a browser has six for a station, and Stop needs one.
document.addEventListener('visibilitychange', () => {
  if (!body.dataset.stream) return;
  gone = document.hidden;
  if (gone) { clearTimeout(again); source?.close(); } else { heardAt = performance.now(); follow(); }
});

if (body.dataset.stream) {
  follow(body.dataset.rev);
  setInterval(() => !document.hidden && performance.now() - heardAt > SILENT_MS && lost(), 500);
}
