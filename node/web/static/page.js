// News for the page: when the node has some, htmx asks for what is shown; when the session has ended,
// the page shows that it is locked. Without this script everything works, and is as old as its loading.
"use strict";

// What was chosen before htmx listened, or put back by the browser, is not what the page shows yet.
addEventListener("load", () => {
  const shown = (one) => Math.max(0, [...one.options].findIndex((option) => option.defaultSelected));
  const isOther = (one) =>
    one.options ? one.selectedIndex !== shown(one) : one.type === "search" && one.value !== one.defaultValue;
  for (const form of document.querySelectorAll("form.filter")) {
    if ([...form.elements].some(isOther)) form.requestSubmit();
  }
});

(() => {
  const address = document.body.dataset.events;
  if (!address || !window.EventSource) return;
  const events = new EventSource(address);
  events.addEventListener("changed", () => document.body.dispatchEvent(new Event("changed")));
  events.addEventListener("ended", () => {
    events.close();
    location.reload();
  });
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
})();
