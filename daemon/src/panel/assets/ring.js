// The ring is one stop of the Tab key and one control for a finger: the nearest frame is meant.
const frames = () => [...document.querySelectorAll('.ring a.fr')];
const HUB = 250;

function rove(to) {
  const all = frames();
  const at = to ?? document.activeElement?.closest?.('.ring a.fr') ?? all.find(f => f.getAttribute('aria-current') === 'true')
    ?? all.find(f => f.matches('.fr-now')) ?? all[0];
  for (const frame of all) frame.setAttribute('tabindex', frame === at ? 0 : -1);
  return at;
}

document.addEventListener('keydown', e => {
  const at = e.target.closest?.('.ring a.fr');
  if (!at || e.ctrlKey || e.metaKey || e.altKey) return;
  const all = frames(), i = all.indexOf(at);
  const step = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: all.length - 1 }[e.key];
  let to = step === undefined ? null : all[(step + all.length) % all.length];
  if (e.key === 'f' || e.key === 'F') {
    const mend = f => f.matches('.fr-flag, .fr-miss');
    to = all.slice(i + 1).find(mend) ?? all.find(mend);
  }
  if (!to) return;
  e.preventDefault();
  rove(to).focus();
});

document.addEventListener('click', e => {
  const dial = e.target.closest('svg.dial');
  if (!dial || e.target.closest('a.fr')) return;
  const at = new DOMPoint(e.clientX, e.clientY).matrixTransform(dial.getScreenCTM().inverse());
  if (!dial.closest('.ring--0') && Math.hypot(at.x - 500, at.y - 500) < HUB) return;
  let nearest = null, least = Infinity;
  for (const frame of frames()) {
    const box = frame.querySelector('.edge').getBBox();
    const away = Math.hypot(box.x + box.width / 2 - at.x, box.y + box.height / 2 - at.y);
    if (away < least) { least = away; nearest = frame; }
  }
  nearest?.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }));
});

document.addEventListener('patched', e => { if (/^(f\d|ring|page)/.test(e.detail)) rove(); });
rove();
