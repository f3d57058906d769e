// Keeps what changes on a page up to date. Everything works without this.
"use strict";
(() => {
  const every = 5000;
  const parts = () => document.querySelectorAll("[data-live]");
  if (parts().length === 0) return;
  const note = document.getElementById("live");
  note.hidden = false;

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts()) {
        const name = part.getAttribute("data-live");
        const next = page.querySelector(`[data-live="${name}"]`);
        if (next && next.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
          part.replaceWith(document.adoptNode(next));
        }
      }
      note.textContent = "live";
      note.classList.remove("lost");
    } catch {
      note.textContent = "not updated";
      note.classList.add("lost");
    }
  };
  setInterval(refresh, every);
  document.addEventListener("visibilitychange", refresh);
})();
