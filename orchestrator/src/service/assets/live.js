// What pages do beyond HTML: parts that follow the run, keys, light and dark. Every page works without it.
"use strict";
(() => {
  const root = document.documentElement;

  // Light or dark: as the system has it, until somebody chooses.
  const themes = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("theme") || "system"; } catch { return "system"; } };
  const button = document.getElementById("theme");
  const show = (theme) => {
    if (theme === "system") root.removeAttribute("data-theme"); else root.setAttribute("data-theme", theme);
    if (button) { button.hidden = false; button.textContent = "◐ " + theme; button.setAttribute("aria-label", "Theme: " + theme); }
  };
  const turn = () => {
    const next = themes[(themes.indexOf(stored()) + 1) % themes.length];
    try { localStorage.setItem("theme", next); } catch { /* it holds for this page */ }
    show(next);
  };
  show(stored());
  if (button) button.addEventListener("click", turn);

  // Live parts. However fast events come, a part is fetched again only after a pause of many times what it took the server,
  // one after the other, and only while somebody looks at the page.
  const status = document.getElementById("live");
  const say = (words) => { if (status && status.textContent !== words) status.textContent = words; };
  const least = 1000;
  let pause = least, due = false, busy = false, timer = 0;
  const busyWithIt = (part) => {
    const focus = document.activeElement;
    const chosen = getSelection();
    return (focus && part.contains(focus) && focus.matches("input,select,textarea,button")) ||
      (chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode)) || part.querySelector("details[open]");
  };
  const replace = (part, text) => {
    const parsed = new DOMParser().parseFromString(text, "text/html");
    const fresh = parsed.body;
    if (fresh.innerHTML === part.innerHTML) return;
    // Where the keyboard was, by the link's address, and how far things are scrolled.
    const focus = part.contains(document.activeElement) ? document.activeElement : null;
    const link = focus && focus.getAttribute("href");
    const region = focus && focus.getAttribute("aria-label");
    const places = [...part.querySelectorAll(".wide")].map((wide) => [wide.scrollLeft, wide.scrollTop]);
    part.replaceChildren(...fresh.childNodes);
    part.querySelectorAll(".wide").forEach((wide, index) => {
      if (places[index]) [wide.scrollLeft, wide.scrollTop] = places[index];
    });
    if (focus) {
      const all = [...part.querySelectorAll("a[href],[tabindex]")];
      const again = all.find((it) => link && it.getAttribute("href") === link) || all.find((it) => region && it.getAttribute("aria-label") === region);
      if (again) again.focus({ preventScroll: true });
    }
  };
  const refresh = async () => {
    if (busy || document.hidden) { due = true; return; }
    busy = true; due = false;
    const begin = performance.now();
    try {
      for (const part of document.querySelectorAll("[data-live]")) {
        if (busyWithIt(part)) continue;
        const answer = await fetch(part.dataset.live, { headers: { Accept: "text/html" } });
        if (answer.status === 401) { location.reload(); return; }
        if (answer.ok) replace(part, await answer.text());
        if (answer.headers.get("evolve-part") === "again") due = true;
      }
      document.body.dataset.refreshed = String(Number(document.body.dataset.refreshed || 0) + 1);
    } catch { say("Not connected"); }
    pause = Math.max(least, 20 * (performance.now() - begin));
    busy = false;
    if (due || document.querySelector("[data-again]")) later();
  };
  const later = () => {
    if (timer) { due = true; return; }
    timer = setTimeout(() => { timer = 0; refresh(); }, pause);
  };
  if (document.body.dataset.stream && document.querySelector("[data-live]") && window.EventSource) {
    const stream = new EventSource(document.body.dataset.stream);
    stream.onopen = () => { say("Live"); document.body.dataset.state = "live"; };
    stream.onerror = () => say(stream.readyState === EventSource.CLOSED ? "Not live: load the page again" : "Not connected; trying again");
    for (const name of ["run_created", "run_started", "proposed", "finished", "lessons", "compared", "run_ended"]) stream.addEventListener(name, later);
    document.addEventListener("visibilitychange", () => { if (!document.hidden && due) later(); });
    addEventListener("pagehide", () => stream.close());
    if (document.querySelector("[data-again]")) later();
  }

  // Keys.
  const rows = () => [...document.querySelectorAll("tr[data-row]")];
  const choose = (step) => {
    const all = rows();
    if (!all.length) return false;
    const now = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[Math.min(Math.max(now + step, 0), all.length - 1)];
    const link = next.querySelector("a[href]");
    if (link) { link.focus(); next.scrollIntoView({ block: "nearest" }); }
    return true;
  };
  let before = "";
  document.addEventListener("keydown", (event) => {
    const field = event.target.matches && event.target.matches("input,select,textarea");
    if (event.key === "Escape" && field) { event.target.blur(); return; }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches && event.target.matches("[data-submit]")) { event.target.form.requestSubmit(); return; }
    if (field || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key;
    const go = (address) => { event.preventDefault(); location.assign(address); };
    if (before === "g") {
      before = "";
      if (key === "r") return go("/");
      if (key === "c") return go("/compare");
      if (key === "s") return go("/sql");
    }
    if (key === "g") { before = "g"; setTimeout(() => { before = ""; }, 1500); return; }
    if (key === "?") return go("/help");
    if (key === "t") { turn(); return; }
    if (key === "/") {
      const first = document.querySelector("main input:not([type=hidden]),main select,main textarea");
      if (first) { event.preventDefault(); first.focus(); }
      return;
    }
    const named = /^[a-z]$/.test(key) && document.querySelector('[data-key="' + key + '"]');
    if (named) return go(named.getAttribute("href"));
    if ((key === "j" && choose(1)) || (key === "k" && choose(-1))) event.preventDefault();
  });
})();
