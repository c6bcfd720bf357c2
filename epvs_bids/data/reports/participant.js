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

  // The outline of the mask lies on a canvas of its own over the viewer: closed in each plane, under no colours.
  const AXES = [[0, 1, 2], [0, 2, 1], [1, 2, 0]]; // of axial, coronal, sagittal planes: across, up, through
  const HALF = 127.5;

  // Where a plane cuts the surface at which the mask is one half: pairs of points in mm (marching squares).
  const contour = ({ img, hdr }, [across, up, through], at) => {
    const size = hdr.dims.slice(1, 4), steps = [1, size[0], size[0] * size[1]];
    const mm = (axis, index) => hdr.affine[axis][axis] * index + hdr.affine[axis][3]; // axes lie along x, y, z
    const depth = Math.min(size[through] - 1, Math.max(0, (at - mm(through, 0)) / hdr.affine[through][through]));
    const below = Math.floor(depth), share = depth - below, above = Math.min(below + 1, size[through] - 1);
    const columns = size[across], plane = new Float32Array(columns * size[up]);
    for (let j = 0, point = 0; j < size[up]; j++) {
      for (let i = 0; i < columns; i++, point++) {
        const voxel = i * steps[across] + j * steps[up];
        plane[point] = img[voxel + below * steps[through]] * (1 - share) + img[voxel + above * steps[through]] * share - HALF;
      }
    }
    const pairs = [];
    for (let j = 0; j < size[up] - 1; j++) {
      for (let i = 0; i < columns - 1; i++) {
        const point = j * columns + i;
        const inside = (plane[point] > 0) + (plane[point + 1] > 0) + (plane[point + columns] > 0) + (plane[point + columns + 1] > 0);
        if (inside === 0 || inside === 4) continue;
        const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
        const values = corners.map(([column, row]) => plane[row * columns + column]);
        const cuts = [];
        corners.forEach(([column, row], index) => {
          const [next, other] = [corners[(index + 1) % 4], values[(index + 1) % 4]];
          if ((values[index] > 0) === (other > 0)) return;
          const part = values[index] / (values[index] - other);
          cuts.push([mm(across, column + part * (next[0] - column)), mm(up, row + part * (next[1] - row))]);
        });
        for (let cut = 0; cut < cuts.length; cut += 2) pairs.push([cuts[cut], cuts[cut + 1]]);
      }
    }
    return pairs;
  };

  // Which way the person lies, readable on white as on black.
  const SIDES = ["LR", "LR", "PA"];
  const letters = (context, [left, right], x, y, width, ratio) => {
    Object.assign(context, { font: `${14 * ratio}px sans-serif`, textBaseline: "bottom", lineJoin: "round" });
    Object.assign(context, { strokeStyle: "#000", fillStyle: "#fff", lineWidth: 3 * ratio });
    for (const [letter, align, at] of [[left, "left", x + 7 * ratio], [right, "right", x + width - 7 * ratio]]) {
      context.textAlign = align;
      context.strokeText(letter, at, y - 5 * ratio);
      context.fillText(letter, at, y - 5 * ratio);
    }
  };

  const outliner = (nv, canvas, mask) => {
    const kept = [{}, {}, {}]; // the last contour of each plane: zooming and toggling need no new one
    return (shown) => {
      Object.assign(canvas, { width: nv.canvas.width, height: nv.canvas.height }); // clears it
      const context = canvas.getContext("2d"), at = nv.frac2mm(nv.scene.crosshairPos, 0, true);
      const ratio = canvas.width / canvas.clientWidth;
      for (const { axCorSag, leftTopWidthHeight: [x, y, width, height], leftTopMM, fovMM } of nv.screenSlices) {
        letters(context, SIDES[axCorSag], x, y + height, width, ratio);
        if (!shown) continue;
        Object.assign(context, { strokeStyle: "#4dd2ff", lineWidth: 1.5 * ratio });
        const place = at[AXES[axCorSag][2]];
        if (kept[axCorSag].place !== place) kept[axCorSag] = { place, pairs: contour(mask, AXES[axCorSag], place) };
        context.save();
        context.beginPath();
        context.rect(x, y, width, height);
        context.clip();
        context.beginPath();
        for (const pair of kept[axCorSag].pairs) {
          pair.forEach(([across, up], end) => context[end ? "lineTo" : "moveTo"](
            x + (across - leftTopMM[0]) / fovMM[0] * width, y + (1 - (up - leftTopMM[1]) / fovMM[1]) * height));
        }
        context.stroke();
        context.restore();
      }
    };
  };

  const start = async (box) => {
    const message = box.querySelector(".message");
    const [canvas, over] = box.querySelectorAll("canvas");
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
      dragAndDropEnabled: false, isColorbar: false, isSliceMM: true, logLevel: "error", isOrientationTextVisible: false,
      onLocationChange: (data) => {
        const [x, y, z] = data.mm;
        where.textContent = ["x", "y", "z"].map((axis, index) => `${axis} ${Math.round(data.mm[index])}`)
          .join(", ").replaceAll("-", "−") + " mm";
        box.dataset.mm = JSON.stringify([x, y, z]);
      },
    });
    await nv.attachToCanvas(canvas);
    canvas.tabIndex = -1; // the box around it takes the focus and the keys
    const read = (name, options) => NVImage.loadFromBase64({ base64: volumes[name], name: `${name}.nii.gz`, ...options });
    const add = async (name, options) => {
      nv.addVolume(await read(name, options));
      return nv.volumes.length - 1;
    };
    await add("scan", { colormap: "gray", cal_min: 0, cal_max: 255 });
    const showMask = controls.querySelector(".show-mask");
    const outline = outliner(nv, over, await read("mask"));
    const draw = nv.drawScene.bind(nv);
    nv.drawScene = () => {
      const drawn = draw();
      outline(showMask.checked);
      return drawn;
    };
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
    box.addEventListener("keydown", (event) => {
      const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault(); // the page does not scroll
      nv.moveCrosshairInVox(0, 0, step);
    });
    const on = (selector, event, action) => controls.querySelector(selector)?.addEventListener(event, action);
    on(".show-mask", "change", () => outline(showMask.checked));
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
