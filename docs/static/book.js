// What overflows sideways can be reached with the keyboard; the search gives no excerpts where pages cannot be fetched (file://).
if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
function reachable() {
  for (const o of document.querySelectorAll('article pre, article .katex-display, article .table-wrapper'))
    o.scrollWidth > o.clientWidth ? o.setAttribute('tabindex', 0) : o.removeAttribute('tabindex');
}
addEventListener('load', reachable);
addEventListener('resize', reachable);
