// Whether the page is light or dark, and when that changes: JupyterLab and VS Code say so on the body, others are seen
// by the colour of their background.

export function followTheme(card: HTMLElement): () => void {
  const apply = () => (card.dataset["theme"] = dark() ? "dark" : "light");
  const media = globalThis.matchMedia?.("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(apply);
  const attributeFilter = ["data-jp-theme-light", "data-theme", "class", "style", "theme"];
  for (const element of [document.documentElement, document.body]) observer.observe(element, { attributes: true, attributeFilter });
  media?.addEventListener("change", apply);
  apply();
  return () => {
    observer.disconnect();
    media?.removeEventListener("change", apply);
  };
}

function dark(): boolean {
  const { body } = document;
  const jupyter = body.dataset["jpThemeLight"];
  if (jupyter !== undefined) return jupyter === "false";
  if (/vscode-(dark|high-contrast)(?!-light)/.test(body.className)) return true;
  if (/vscode-/.test(body.className)) return false;
  for (const element of [body, document.documentElement]) {
    const [red = 0, green = 0, blue = 0, alpha = 1] = (getComputedStyle(element).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (alpha > 0.5) return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
  }
  return globalThis.matchMedia?.("(prefers-color-scheme: dark)").matches ?? false;
}
