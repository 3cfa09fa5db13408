// Replaces parts of the page by newer ones of the same id: from the stream, or from a page that was fetched.
const SVG = 'http://www.w3.org/2000/svg';

function parsed(html, like) {
  // A part of a drawing is parsed as a drawing; an <svg> itself and everything else as HTML.
  const within = like.namespaceURI === SVG && like.localName !== 'svg';
  const holder = within ? document.createElementNS(SVG, 'svg') : document.createElement('template');
  holder.innerHTML = html.trim();
  return (holder.content ?? holder).firstElementChild;
}

// What a person was at, so that it can be found again: never a button that does something else now.
function focusWithin(old) {
  const at = document.activeElement;
  if (!at || at === document.body || !old.contains(at)) return null;
  const name = at.id ? `#${CSS.escape(at.id)}` : at.dataset.act ? `[data-act="${at.dataset.act}"]`
    : at.name ? `[name="${at.name}"]` : at.hasAttribute('data-close') ? '[data-close]' : null;
  return name && { name, value: at.value, from: at.selectionStart, to: at.selectionEnd };
}

export function replace(old, next) {
  if (old.matches('[role=status],[role=alert]')) {
    // Read out only if the element stays and its words change.
    if (old.textContent !== next.textContent) old.textContent = next.textContent;
    old.dataset.h = next.dataset.h;
    return;
  }
  const at = focusWithin(old);
  if (old.matches('.fr') && next.querySelector('image') && !old.querySelector('image')) next.classList.add('fresh');
  old.replaceWith(next);
  if (!at) return;
  const again = next.matches(at.name) ? next : next.querySelector(at.name);
  if (!again) return;
  if (again.matches('input')) again.value = at.value;
  again.focus({ preventScroll: true });
  if (again.matches('input') && at.from !== null) again.setSelectionRange(at.from, at.to);
}

// Outer parts come first and bring what is within them.
function take(parts) {
  for (const next of parts) {
    const old = document.getElementById(next.id);
    if (old && old.dataset.h !== next.dataset.h) replace(old, document.importNode(next, true));
  }
}

export function patch({ id, h, html, whole }) {
  const old = document.getElementById(id);
  if (!old || (!whole && old.dataset.h === h)) return;
  const next = parsed(html, old);
  if (!next) return;
  // The same frame with other parts: pictures that are there already stay.
  if (old.dataset.h === h) take(next.querySelectorAll('[data-h]'));
  else replace(old, next);
  document.dispatchEvent(new CustomEvent('patched', { detail: id }));
}

// Takes over what differs from a page that was fetched.
export function adopt(page) {
  take(page.querySelectorAll('[data-h]'));
  document.title = page.title;
  document.dispatchEvent(new CustomEvent('patched', { detail: 'page' }));
}
