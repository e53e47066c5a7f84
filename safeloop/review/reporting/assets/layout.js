// What may stand in the parts of a page that no verdict covers: words, tables, drawings. Nothing of it can hide, cover
// or move anything else, and nothing changes by itself.

const XHTML = "http://www.w3.org/1999/xhtml";
const SVG = "http://www.w3.org/2000/svg";
const TAGS = {
  [XHTML]: /^(p|ul|li|dl|div|dt|dd|code|table|caption|thead|tbody|tr|th|td|details|summary|figure|figcaption|h2)$/,
  [SVG]: /^(svg|g|path|rect|circle|text|title|desc)$/,
};
const CLASSES = {
  [XHTML]: /^(alarm|unsigned|wide|broad|narrow|number|data)$/,
  [SVG]: /^(background|axis|x|y|line|guides|guide|rect|legend|horizontal|color-[0-2])( (axis|x|y|line|guides|guide|rect|legend|horizontal|color-[0-2]))*$/,
};
const ATTRIBUTES = {
  [XHTML]: { role: /^region$/, "aria-label": /^/, tabindex: /^0$/, scope: /^(col|row)$/, open: /^$/ },
  [SVG]: {
    role: /^img$/, "aria-labelledby": /^/, focusable: /^false$/, id: /^chart-[a-z]+-(title|text)$/, viewBox: /^/, transform: /^/,
    d: /^/, x: /^/, y: /^/, rx: /^/, ry: /^/, width: /^/, height: /^/, r: /^/, cx: /^/, cy: /^/, "text-anchor": /^/,
  },
};

function isPlain(element) {
  return Boolean(TAGS[element.namespaceURI]?.test(element.localName));
}

function isPlainAttribute(element, name, value) {
  const form = name === "class" ? CLASSES[element.namespaceURI] : ATTRIBUTES[element.namespaceURI][name];
  return Boolean(form?.test(value));
}

// The same element made anew. What a parser may have hung on the old one and no program sees, as a closed shadow tree
// that is drawn in its place, does not come along. With `refuse`, only what is plain does; it is called for the rest.
function copyOf(element, refuse = null) {
  const copy = document.createElementNS(element.namespaceURI, element.localName);
  for (const { name, value } of element.attributes) {
    if (refuse === null || isPlainAttribute(element, name, value)) copy.setAttribute(name, value);
    else refuse();
  }
  for (const child of element.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) copy.append(child.data);
    else if (child.nodeType === Node.ELEMENT_NODE && (refuse === null || isPlain(child))) copy.append(copyOf(child, refuse));
    else refuse?.();
  }
  return copy;
}

function tagOf(element) {
  return element.cloneNode(false).outerHTML;
}

// Whether nothing but spaces and line ends stands between the elements of this one.
function isTidy(element) {
  return [...element.childNodes].every(
    (child) => child.nodeType === Node.ELEMENT_NODE || (child.nodeType === Node.TEXT_NODE && /^[ \n]*$/.test(child.data)),
  );
}
