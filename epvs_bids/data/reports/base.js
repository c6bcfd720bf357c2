"use strict";
(function () {
  // On paper nothing can be unfolded.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    opened.forEach((folded) => { folded.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((folded) => { folded.open = false; }));
})();
