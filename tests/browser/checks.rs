//! What is asked of a whole page, in JavaScript: lists of what is wrong with it.

/// What reaches out of the page to the right or left and stands in nothing that scrolls.
pub(crate) const OVERFLOWING: &str = "(() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = (e) => ['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX);
  const framed = (e) => { for (let at = e.parentElement; at && at !== document.body; at = at.parentElement) if (scrolls(at)) return true; return false; };
  const out = [...document.body.querySelectorAll('*')].filter((e) => {
    const r = e.getBoundingClientRect();
    return r.width > 0 && (r.right > wide + 1 || r.left < -1) && !framed(e) && !e.closest('svg');
  }).map((e) => e.outerHTML.slice(0, 120));
  if (document.documentElement.scrollWidth > wide) out.push(`the page is ${document.documentElement.scrollWidth} wide, not ${wide}`);
  return out.slice(0, 5);
})()";

/// What holds more than it shows.
pub(crate) const CLIPPED: &str = "(() => [...document.body.querySelectorAll('*')].filter((e) => {
  const style = getComputedStyle(e);
  const r = e.getBoundingClientRect();
  if (e.tagName === 'CAPTION' || e.closest('svg') || r.width === 0 || style.overflow === 'visible') return false;
  return e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1;
}).map((e) => e.outerHTML.slice(0, 120)).slice(0, 5))()";

/// Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3).
pub(crate) const FAINT: &str = "(() => {
  const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const behind = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const e = text.parentElement;
    if (!text.data.trim() || e.closest('script, style, caption, title, desc, [hidden]') || !e.getClientRects().length) continue;
    const style = getComputedStyle(e);
    const back = behind(e);
    const drawn = rgba(e.closest('svg') && style.fill !== 'none' ? style.fill : style.color);
    drawn[3] *= style.opacity * (e.closest('svg') ? style.fillOpacity : 1);
    const [a, b] = [light(over(drawn, back)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)}: ${text.data.trim().slice(0, 60)} in ${e.outerHTML.slice(0, 90)}`);
  }
  return faint.slice(0, 5);
})()";

pub(crate) const FOLD: &str = "document.querySelectorAll('details').forEach((d) => { d.open = false; })";
pub(crate) const UNFOLD: &str = "document.querySelectorAll('details').forEach((d) => { d.open = true; })";
