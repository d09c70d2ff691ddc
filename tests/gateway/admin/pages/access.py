"""What a page owes to people who use a keyboard, a screen reader, a phone, or the dark. Run inside the browser."""

# Everything that can be used has a name; ids are there once; what is described by another is there; one heading leads.
FAULTS = """
() => {
  const faults = [];
  const seen = (node) => node.getClientRects().length > 0;
  const labels = (node) => [...(node.labels || [])].map((one) => one.textContent).join(" ");
  const name = (node) => (node.getAttribute("aria-label") || labels(node) || node.textContent || "").trim();
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push(`id ${id} is there twice`);
  for (const node of document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a, summary"))
    if (seen(node) && !name(node)) faults.push(`${node.outerHTML.slice(0, 90)} has no name`);
  for (const node of document.querySelectorAll("[aria-describedby], [aria-labelledby]"))
    for (const of of ["aria-describedby", "aria-labelledby"])
      for (const id of (node.getAttribute(of) || "").split(" ").filter(Boolean))
        if (!document.getElementById(id)) faults.push(`${of} ${id} is nowhere`);
  for (const node of document.querySelectorAll("label[for]"))
    if (!document.getElementById(node.htmlFor)) faults.push(`a label is for ${node.htmlFor}, which is nowhere`);
  for (const node of document.querySelectorAll("a[href^='#']"))
    if (!document.getElementById(node.hash.slice(1))) faults.push(`${node.hash} leads nowhere`);
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title.endsWith("Turnpike")) faults.push(`title ${document.title}`);
  for (const table of document.querySelectorAll("table"))
    if (![...table.querySelectorAll("th")].every((cell) => cell.scope)) faults.push("a head of a table without scope");
  for (const node of document.querySelectorAll("svg[role=img]"))
    if (!node.getAttribute("aria-label")) faults.push("a plot without words");
  for (const node of document.querySelectorAll("[tabindex]"))
    if (Number(node.getAttribute("tabindex")) > 0) faults.push("a tab order of its own");
  if (document.querySelector("script, style, [style], iframe")) faults.push("a script or a style in the page");
  return faults;
}
"""

# Contrast of every piece of text against what lies behind it, as WCAG AA asks: 4.5 to 1; of fields' edges 3 to 1.
CONTRAST = """
() => {
  const parse = (text) => (text.match(/[0-9.]+/g) || ["0", "0", "0", "0"]).map(Number);
  const light = ([r, g, b]) => {
    const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const ratio = (one, other) => {
    const [front, back] = [light(one), light(other)];
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    if (!node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const ink = node instanceof SVGElement ? style.fill : style.color;
    if (own && node.tagName !== "title" && node.tagName !== "OPTION") {
      const found = ratio(parse(ink), behind(node));
      if (found < 4.5) poor.push(`${node.tagName} ${node.textContent.trim().slice(0, 30)} ${found.toFixed(2)}`);
    }
    if (["INPUT", "SELECT", "TEXTAREA"].includes(node.tagName)) {
      const found = ratio(parse(style.borderTopColor), behind(node));
      if (found < 3) poor.push(`edge of ${node.name} ${found.toFixed(2)}`);
    }
  }
  for (const node of document.querySelectorAll(".plot rect, .plot .left, .swatch:not(.line)")) {
    if (!node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const fill = node instanceof SVGElement ? style.fill : style.backgroundColor;
    const color = node.tagName === "path" ? style.stroke : fill;
    const around = behind(node.closest(".sheet"));
    if (ratio(parse(color), around) < 2.5) poor.push(`${node.getAttribute("class")} of a plot ${color}`);
  }
  return poor;
}
"""

# Where the focus is, and whether it can be seen there.
FOCUS = """
() => {
  const node = document.activeElement, style = getComputedStyle(node), box = node.getBoundingClientRect();
  return {
    name: (node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent || "").trim(),
    tag: node.tagName,
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1 && box.width > 0 && box.height > 0,
    top: box.top + scrollY,
    left: box.left,
  };
}
"""
