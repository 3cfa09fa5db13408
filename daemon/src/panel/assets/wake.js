// A wall tablet stays awake while a session is open, and shows the status bar alone when nobody was there for long.
const IDLE_MS = 5 * 60 * 1000;
let lock = null, touchedAt = performance.now();
const open = () => document.querySelector('#item[data-session]') !== null;

async function hold() {
  if (!open() || document.hidden) { lock?.release(); lock = null; return; }
  if (lock || !navigator.wakeLock) return;
  try {
    lock = await navigator.wakeLock.request('screen');
    lock.addEventListener('release', () => { lock = null; });
  } catch { lock = null; }
}

function touched(e) {
  touchedAt = performance.now();
  if (!document.body.classList.contains('is-dim')) return;
  document.body.classList.remove('is-dim');
  // Who wakes the screen does not see yet what is under the finger.
  if (e.type === 'pointerdown') { e.preventDefault(); e.stopImmediatePropagation(); }
}

if (document.body.matches('.op')) {
  document.addEventListener('patched', hold);
  document.addEventListener('visibilitychange', hold);
  for (const type of ['pointerdown', 'keydown']) addEventListener(type, touched, true);
  setInterval(() => {
    if (!open() && performance.now() - touchedAt > IDLE_MS) document.body.classList.add('is-dim');
    else if (open()) document.body.classList.remove('is-dim');
  }, 5000);
  hold();
}
