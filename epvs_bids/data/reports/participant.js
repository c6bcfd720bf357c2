"use strict";
(function () {
  // The registration check: the template lies over the scan, its opacity follows the slider or alternates.
  document.querySelectorAll(".flicker").forEach((flicker) => {
    const [, over] = flicker.querySelectorAll("img");
    const tag = flicker.querySelector(".tag");
    const controls = flicker.parentElement.querySelector(".controls");
    const button = controls.querySelector(".flick");
    const slider = controls.querySelector(".blend");
    let timer = null;
    const show = (share) => {
      over.style.opacity = share;
      slider.value = 100 * share;
      tag.textContent = share < 0.5 ? "scan" : "template";
    };
    button.addEventListener("click", () => {
      const start = timer === null;
      clearInterval(timer);
      timer = start ? setInterval(() => show(Number(over.style.opacity) < 0.5 ? 1 : 0), 700) : null;
      button.setAttribute("aria-pressed", String(start));
    });
    // Taking hold of the slider stops the flicker, also where the value it is given is the one it has.
    const stop = () => {
      if (timer !== null) button.click();
    };
    slider.addEventListener("pointerdown", stop);
    slider.addEventListener("keydown", stop);
    slider.addEventListener("input", () => {
      stop();
      show(slider.value / 100);
    });
    show(0);
  });

  // The slice viewer is unpacked when the first one comes into view.
  const viewers = document.querySelectorAll(".viewer");
  if (!viewers.length) return;
  let library = null;
  const loadLibrary = () => {
    library ??= (async () => {
      const packed = document.getElementById("niivue").textContent.trim();
      const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      const script = document.createElement("script");
      script.textContent = await new Response(stream).text();
      document.head.append(script);
      return window.niivue;
    })();
    return library;
  };

  const start = async (box) => {
    const message = box.querySelector(".message");
    const canvas = box.querySelector("canvas");
    if (!canvas.ownerDocument.createElement("canvas").getContext("webgl2")) {
      message.textContent = "This browser offers no WebGL 2, which the viewer needs. The pictures below show the slices.";
      return;
    }
    const { Niivue, NVImage } = await loadLibrary();
    const volumes = JSON.parse(document.getElementById(box.dataset.volumes).textContent);
    const position = JSON.parse(box.dataset.position);
    const controls = box.parentElement.querySelector(".controls");
    const where = controls.querySelector(".where");
    const nv = new Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [0.45, 0.6, 0.7, 1], crosshairWidth: 0.25, crosshairGap: 5,
      dragAndDropEnabled: false, isColorbar: false, isSliceMM: true, logLevel: "error", fontColor: [1, 1, 1, 1],
      onLocationChange: (data) => {
        const [x, y, z] = data.mm;
        where.textContent = ["x", "y", "z"].map((axis, index) => `${axis} ${Math.round(data.mm[index])}`)
          .join(", ").replaceAll("-", "−") + " mm";
        box.dataset.mm = JSON.stringify([x, y, z]);
      },
    });
    nv.addColormap("outline", { R: [0, 77], G: [0, 210], B: [0, 255], A: [0, 255], I: [0, 255] });
    await nv.attachToCanvas(canvas);
    const add = async (name, options) => {
      const image = await NVImage.loadFromBase64({ base64: volumes[name], name: `${name}.nii.gz`, ...options });
      nv.addVolume(image);
      return nv.volumes.length - 1;
    };
    await add("scan", { colormap: "gray", cal_min: 0, cal_max: 255 });
    const mask = await add("mask", { colormap: "outline", cal_min: 1, cal_max: 255, opacity: 0.8 });
    nv.setCustomLayout([
      { sliceType: nv.sliceTypeAxial, position: [0, 0, 0.62, 1] },
      { sliceType: nv.sliceTypeCoronal, position: [0.63, 0, 0.37, 0.495] },
      { sliceType: nv.sliceTypeSagittal, position: [0.63, 0.505, 0.37, 0.495] },
    ]);
    const home = () => {
      nv.scene.crosshairPos = nv.mm2frac(position);
      nv.createOnLocationChange();
      nv.drawScene();
    };
    const on = (selector, event, action) => controls.querySelector(selector)?.addEventListener(event, action);
    on(".show-mask", "change", (event) => nv.setOpacity(mask, event.target.checked ? 0.8 : 0));
    on(".home", "click", home);
    on(".brightness", "input", (event) => {
      nv.volumes[0].cal_max = 2.55 * event.target.value;
      nv.updateGLVolume();
    });
    if (volumes.saliency) {
      const saliency = await add("saliency", { colormap: "warm", cal_min: 40, cal_max: 255, opacity: 0 });
      const shown = controls.querySelector(".show-saliency");
      const opacity = controls.querySelector(".saliency-opacity");
      const update = () => nv.setOpacity(saliency, shown.checked ? opacity.value / 100 : 0);
      shown.addEventListener("change", update);
      opacity.addEventListener("input", () => { shown.checked = true; update(); });
    }
    home();
    box.nv = nv;
    message.remove();
    box.dataset.ready = "true";
  };

  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      seen.unobserve(entry.target);
      start(entry.target).catch((error) => {
        entry.target.querySelector(".message").textContent = `The viewer could not start: ${error.message}`;
      });
    });
  }, { rootMargin: "300px" });
  viewers.forEach((box) => seen.observe(box));
})();
