// A scanner is a keyboard: a burst of characters with an Enter at its end is an item, wherever the focus is.
const GAP_MS = 35;
const LEAST = 6;
let burst = '', last = 0, before = null, swallow = false;

function take(item) {
  const card = document.getElementById('item');
  if (!card) { location.assign(`/?item=${encodeURIComponent(item)}`); return; }
  const open = card.hasAttribute('data-session');
  if (open && card.dataset.item === item) return;
  const ask = new URLSearchParams(open ? { scanned: item } : { item });
  const recipe = document.getElementById('recipe')?.value ?? new URLSearchParams(location.search).get('recipe');
  if (!open && recipe) ask.set('recipe', recipe);
  document.dispatchEvent(new CustomEvent('go', { detail: { url: `/?${ask}` } }));
}

addEventListener('keydown', e => {
  const at = document.activeElement, now = performance.now(), quick = now - last < GAP_MS;
  if (at?.matches?.('input[type=password]') || e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === 'Enter' && quick && burst.length >= LEAST) {
    // The Enter of a scanner presses nothing: it never starts motion.
    e.preventDefault();
    e.stopImmediatePropagation();
    if (before?.field === at && at.id !== 'scan') at.value = before.value;
    const item = burst;
    burst = '';
    swallow = true;
    take(item);
    return;
  }
  if (e.key.length !== 1) return;
  if (!quick) { burst = ''; before = at?.matches?.('input') ? { field: at, value: at.value } : null; }
  // A blank within a burst would press the button that has the focus.
  if (quick && burst && e.key === ' ' && !at?.matches?.('input, textarea')) { e.preventDefault(); swallow = true; }
  burst += e.key;
  last = now;
}, true);
addEventListener('keyup', e => {
  if (swallow && (e.key === 'Enter' || e.key === ' ')) { e.preventDefault(); e.stopImmediatePropagation(); swallow = false; }
}, true);
