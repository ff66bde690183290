// How the page makes elements: text becomes text, never HTML.

/**
 * An element of `kind`, a tag with classes: `make("p.note", { id: "x" }, "some ", make("b", {}, "text"))`.
 * Attributes that are functions listen to the event of their name.
 */
export function make(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  if (classes.length > 0) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== ""));
  return made;
}

const builders = new WeakMap();

/** A part that can be opened. What is in it is made by `build` when it is opened first: most of it never is. */
export function foldable(kind, attributes, summary, build) {
  const details = make(`details${kind}`, attributes, make("summary", {}, summary));
  builders.set(details, build);
  details.addEventListener("toggle", () => details.open && fill(details));
  return details;
}

function fill(details) {
  const build = builders.get(details);
  builders.delete(details);
  if (build) details.append(...[build()].flat(Infinity));
}

/** Opens `details` at once. */
export function unfold(details) {
  fill(details);
  details.open = true;
}

/** A button that copies what `text` gives, where browsers let pages copy: not without TLS. */
export function copyButton(text) {
  const button = make("button.copy", { type: "button", hidden: !navigator.clipboard }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}
