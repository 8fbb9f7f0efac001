// Measures the page in each frame, and leaves what was found as text in this document.
const measure = (frame) => {
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach((part) => { part.open = true; });
  const view = page.defaultView, root = page.documentElement;
  const near = (a, b) => a <= b + 0.5;
  const plots = [...page.querySelectorAll("svg")].map((svg) => {
    const box = svg.getBoundingClientRect(), frame = svg.viewBox.baseVal;
    const out = [...svg.querySelectorAll("text, path")].filter((part) => {
      const b = part.getBBox();
      return !(near(0, b.x) && near(0, b.y) && near(b.x + b.width, frame.width)
        && near(b.y + b.height, frame.height));
    });
    const texts = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBBox()]);
    const crossed = texts.flatMap(([one, a], i) => texts.slice(i + 1).filter(([, b]) =>
      Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x) > 1
      && Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y) > 4).map(([other]) => [one, other]));
    return {
      name: svg.querySelector("title").textContent, width: box.width, height: box.height, crossed,
      right: box.right, out: out.map((part) => part.textContent || part.getAttribute("d")),
      ink: view.getComputedStyle(svg.querySelector("text")).fill,
      smallest: Math.min(...[...svg.querySelectorAll("text")].map((text) =>
        parseFloat(view.getComputedStyle(text).fontSize) * box.width / frame.width)),
    };
  });
  const wide = [...page.querySelectorAll("body *")].filter((part) =>
    part.getBoundingClientRect().right > root.clientWidth + 0.5 && !part.closest(".scroll, svg"));
  return {
    inner: view.innerWidth, client: root.clientWidth, scroll: root.scrollWidth, plots,
    wide: wide.map((part) => part.outerHTML.slice(0, 120)),
    paper: view.getComputedStyle(page.body).backgroundColor,
    scripts: page.scripts.length, images: page.images.length,
    resources: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    boxes: [...page.querySelectorAll(".scroll")].filter((box) => box.clientWidth > 0).length,
    titles: page.querySelectorAll("h1").length,
  };
};
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(measure);
  document.getElementById("found").textContent = encodeURIComponent(JSON.stringify(found));
});
