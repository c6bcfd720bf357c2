// Draws one axial slice with its marks, and turns places on the screen into millimetres of the template and back.
// Left on the screen is the right of the person (radiological convention).

export const SMALLEST = 0.6, LARGEST = 40; // pixels a millimetre
const REGION = { x: 0, y: 0, width: 100, height: 84 }; // mm: the basal ganglia with their surroundings
const NEAR = 2; // mm: marks of the counted slice show through, dashed, up to this far from it
const RING = 1, LEAST_RING = 6, WIDEST_RING = 14; // mm and pixels: a click inside of a ring removes it; EPVS lie closely

export class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.slab = null;
    this.slice = 0;
    this.brightness = 50;
    this.contrast = 50;
    this.showMarks = true;
    this.cross = null;
    this.under = null; // the mark under the mouse, which a click would remove
    this.buffer = document.createElement("canvas");
    this.fit();
  }

  // slab: {shape: [nx, ny, nz], origin, spacing, level, window, voxels: Uint8Array (z, y, x)}
  show(slab) {
    this.slab = slab;
    this.buffer.width = slab.shape[0];
    this.buffer.height = slab.shape[1];
    this.cross = null;
    this.under = null;
  }

  // The region, or as much of it as the slab holds: a scan of a part of the head fills the window, too
  fit() {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [[REGION.x, REGION.width], [REGION.y, REGION.height]].map(([middle, size], axis) => {
      if (!this.slab) return { middle, size };
      const { origin, spacing, shape } = this.slab, edge = origin[axis] - spacing[axis] / 2;
      const low = Math.max(middle - size / 2, edge);
      const high = Math.min(middle + size / 2, edge + spacing[axis] * shape[axis]);
      return high > low ? { middle: (low + high) / 2, size: high - low } : { middle, size };
    });
    const room = Math.min((box.width || 800) / x.size, (box.height || 600) / y.size);
    this.view = { x: x.middle, y: y.middle, scale: Math.min(LARGEST, Math.max(SMALLEST, room)) };
    this.fitted = true; // until the rater zooms or moves
  }

  height(slice = this.slice) { return this.slab.origin[2] + slice * this.slab.spacing[2]; }

  sliceAt(height) {
    const index = Math.round((height - this.slab.origin[2]) / this.slab.spacing[2]);
    return Math.min(this.slab.shape[2] - 1, Math.max(0, index));
  }

  // CSS pixels of the canvas <-> millimetres of the template
  toMillimetres(px, py) {
    const { x, y, scale } = this.view;
    return [x - (px - this.canvas.clientWidth / 2) / scale, y - (py - this.canvas.clientHeight / 2) / scale];
  }

  toPixels(mx, my) {
    const { x, y, scale } = this.view;
    return [this.canvas.clientWidth / 2 - (mx - x) * scale, this.canvas.clientHeight / 2 - (my - y) * scale];
  }

  zoom(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const [mx, my] = this.toMillimetres(px, py);
    this.view.scale = Math.min(LARGEST, Math.max(SMALLEST, this.view.scale * factor));
    const [nx, ny] = this.toMillimetres(px, py);
    this.move(mx - nx, my - ny);
  }

  move(dx, dy) { this.view.x += dx; this.view.y += dy; this.fitted = false; }

  radius() { return Math.min(WIDEST_RING, Math.max(LEAST_RING, RING * this.view.scale)); }

  // Index of the mark whose ring a place lies in, the nearest where rings overlap; -1 without one
  markAt(marks, mx, my) {
    const distances = marks.map((mark) => Math.hypot(mark[0] - mx, mark[1] - my) * this.view.scale);
    const nearest = distances.indexOf(Math.min(...distances));
    return nearest >= 0 && distances[nearest] <= this.radius() ? nearest : -1;
  }

  // Whether the slab has a voxel there
  holds(mx, my) {
    return [mx, my].every((value, axis) => {
      const index = (value - this.slab.origin[axis]) / this.slab.spacing[axis];
      return index >= -0.5 && index < this.slab.shape[axis] - 0.5;
    });
  }

  lookup() {
    const [dark, bright] = this.slab.window;
    const width = (bright - dark) * Math.pow(2, (50 - this.contrast) / 16);
    const centre = (dark + bright) / 2 + 255 * (50 - this.brightness) / 100;
    return Uint8ClampedArray.from({ length: 256 }, (_, value) => 255 * ((value - centre) / width + 0.5));
  }

  paintBuffer() {
    const [nx, ny] = this.slab.shape, context = this.buffer.getContext("2d"), table = this.lookup();
    const image = context.createImageData(nx, ny), start = this.slice * nx * ny;
    for (let row = 0, to = 0; row < ny; row++) {
      let from = start + (ny - 1 - row) * nx + nx - 1; // anterior up, right of the person left
      for (let column = 0; column < nx; column++, to += 4) {
        const grey = table[this.slab.voxels[from--]];
        image.data[to] = image.data[to + 1] = image.data[to + 2] = grey;
        image.data[to + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  draw(marks, level) {
    const ratio = window.devicePixelRatio || 1, canvas = this.canvas;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.slab) return;
    const { shape, origin, spacing } = this.slab, scale = this.view.scale;
    this.paintBuffer();
    const [left, top] = this.toPixels(origin[0] + (shape[0] - 0.5) * spacing[0], origin[1] + (shape[1] - 0.5) * spacing[1]);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.buffer, left, top, shape[0] * spacing[0] * scale, shape[1] * spacing[1] * scale);
    const away = Math.abs(this.height() - level);
    if (this.showMarks && away <= NEAR) for (const mark of marks) this.ring(context, mark, away < spacing[2] / 2);
    if (this.cross) this.drawCross(context);
  }

  ring(context, [mx, my], here) {
    const [px, py] = this.toPixels(mx, my), radius = this.radius();
    const under = here && this.under && this.under[0] === mx && this.under[1] === my;
    for (const [colour, width] of [["#000", under ? 6 : 4], [here ? "#ffd166" : "#b9c3cc", under ? 4 : 2]]) {
      context.beginPath();
      context.setLineDash(here ? [] : [4, 4]);
      context.arc(px, py, radius, 0, 2 * Math.PI);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
    context.setLineDash([]);
  }

  drawCross(context) {
    const [px, py] = this.toPixels(...this.cross);
    for (const [colour, width] of [["#000", 4], ["#7cc4ff", 2]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(px + 4 * dx, py + 4 * dy);
        context.lineTo(px + 14 * dx, py + 14 * dy);
      }
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }
}
