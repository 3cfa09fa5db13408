// The spin: small pictures while it moves, the large one at rest, the original when it is looked into.
const REST_MS = 160, FRAME_MS = 1000 / 9, ZOOM_MAX = 4, AHEAD = 4;
const stage = document.getElementById('stage');
if (stage) start(stage);

function start(stage) {
  const img = document.getElementById('v-img');
  const frames = JSON.parse(stage.dataset.pictures);
  if (!img || !frames.length) return;
  const range = document.querySelector('.scrub input'), cells = [...document.querySelectorAll('.scrub li')];
  const n = frames.length, fingers = new Map();
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  let i = +range.value, zoom = 1, x = 0, y = 0, rest, playing, dragged = null, pinch = 0;

  const small = k => `/api/v1/frames/${frames[k][1]}/thumbnail?side=600&v=${frames[k][2]}`;
  const large = k => `/api/v1/frames/${frames[k][1]}/thumbnail?side=1200&v=${frames[k][2]}`;
  const original = k => `/api/v1/frames/${frames[k][1]}/original`;

  function place() {
    const reach = (zoom - 1) / 2;
    x = Math.max(-reach, Math.min(reach, x));
    y = Math.max(-reach, Math.min(reach, y));
    img.style.transform = zoom === 1 ? '' : `translate(${x * 100}%, ${y * 100}%) scale(${zoom})`;
    document.getElementById('v-zoom').textContent = Math.round(zoom * 100);
    stage.classList.toggle('zoomed', zoom > 1);
  }

  async function sharpen() {
    const k = i, source = zoom > 1 ? original(k) : large(k), loaded = new Image();
    loaded.src = source;
    try { await loaded.decode(); } catch { return; }
    if (k === i && img.getAttribute('src') !== source) img.src = source;
  }

  function atRest() {
    sharpen();
    tellFacts();
    preload();
  }

  function show(k) {
    i = ((k % n) + n) % n;
    const [frame, , , deg, sentence] = frames[i];
    img.src = small(i);
    img.alt = sentence;
    range.value = i;
    range.setAttribute('aria-valuetext', sentence);
    cells.forEach((cell, j) => cell.classList.toggle('on', j === i));
    document.getElementById('v-deg').textContent = deg === '' ? '' : `${deg}°`;
    const number = document.getElementById('v-n');
    number.textContent = number.textContent.replace(/\d+/, frame);
    clearTimeout(rest);
    rest = setTimeout(atRest, REST_MS);
  }

  // What is known of the frame at rest is drawn by the station, like the rest of the page.
  async function tellFacts() {
    const k = i, to = new URL(location.href);
    to.searchParams.set('frame', frames[k][0]);
    history.replaceState(null, '', to);
    try {
      const page = new DOMParser().parseFromString(await (await fetch(to)).text(), 'text/html');
      const facts = page.getElementById('facts');
      if (facts && k === i) document.getElementById('facts').replaceWith(facts);
    } catch { /* the facts of the frame before stay until the station answers */ }
  }

  const loaded = new Set();
  let loading = 0;
  function preload() {
    for (let away = 0; away <= n / 2 && loading < AHEAD; away += 1) {
      for (const k of [(i + away) % n, (i - away + n) % n]) {
        if (loaded.has(k) || loading >= AHEAD) continue;
        loaded.add(k);
        loading += 1;
        const one = new Image();
        one.onload = one.onerror = () => { loading -= 1; preload(); };
        one.src = small(k);
      }
    }
  }

  function scale(to, at) {
    const next = Math.max(1, Math.min(ZOOM_MAX, to));
    if (at) {
      const box = stage.getBoundingClientRect();
      const px = (at.x - box.left) / box.width - .5, py = (at.y - box.top) / box.height - .5;
      x = px - (px - x) * next / zoom;
      y = py - (py - y) * next / zoom;
    }
    if (next === 1) { x = 0; y = 0; }
    const more = zoom === 1 && next > 1;
    zoom = next;
    place();
    if (more) { clearTimeout(rest); rest = setTimeout(sharpen, REST_MS); }
  }

  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  const between = () => { const [a, b] = [...fingers.values()]; return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }; };

  stage.addEventListener('pointerdown', e => {
    fingers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    stage.setPointerCapture(e.pointerId);
    stage.classList.add('drag');
    if (fingers.size === 2) pinch = spread() / zoom;
    dragged = { x: e.clientX, y: e.clientY, i, px: x, py: y };
  });
  stage.addEventListener('pointermove', e => {
    if (!fingers.has(e.pointerId)) return;
    fingers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    if (fingers.size === 2) { scale(spread() / pinch, between()); return; }
    if (!dragged) return;
    const dx = (e.clientX - dragged.x) / stage.clientWidth, dy = (e.clientY - dragged.y) / stage.clientHeight;
    if (zoom > 1) { x = dragged.px + dx; y = dragged.py + dy; place(); return; }
    const to = dragged.i - Math.round(dx * n);
    if (((to % n) + n) % n !== i) show(to);
  });
  for (const type of ['pointerup', 'pointercancel']) {
    stage.addEventListener(type, e => {
      fingers.delete(e.pointerId);
      dragged = null;
      if (!fingers.size) stage.classList.remove('drag');
    });
  }
  stage.addEventListener('wheel', e => {
    e.preventDefault();
    if (e.ctrlKey || zoom > 1) scale(zoom * (e.deltaY < 0 ? 1.2 : 1 / 1.2), { x: e.clientX, y: e.clientY });
    else show(i + Math.sign(e.deltaY));
  }, { passive: false });
  range.addEventListener('input', () => show(+range.value));

  const play = document.getElementById('v-play');
  function toggle() {
    const on = !playing;
    clearInterval(playing);
    playing = on ? setInterval(() => show(i + 1), still.matches ? 1000 : FRAME_MS) : null;
    play.setAttribute('aria-pressed', `${on}`);
  }
  play.addEventListener('click', toggle);
  const zooms = { in: () => scale(zoom * 1.5), out: () => scale(zoom / 1.5), whole: () => scale(1) };
  document.addEventListener('click', e => {
    const step = e.target.closest('#v-prev, #v-next'), lens = e.target.closest('[data-zoom]');
    if (step) { e.preventDefault(); show(i + (step.id === 'v-next' ? 1 : -1)); }
    if (lens) zooms[lens.dataset.zoom]();
  });
  document.addEventListener('keydown', e => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest('input[type=text], summary, select')) return;
    const button = e.target.closest('button, a');
    const far = e.shiftKey ? 10 : 1;
    const keys = { ArrowLeft: () => show(i - far), ArrowRight: () => show(i + far), Home: () => show(0), End: () => show(n - 1),
      '+': zooms.in, '-': zooms.out, 0: zooms.whole, ' ': button ? null : toggle };
    if (!keys[e.key]) return;
    e.preventDefault();
    keys[e.key]();
  });
  preload();
}
