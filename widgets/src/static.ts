// The plain output beside a widget is for reopened notebooks; while the widget lives it is hidden by a rule in the page.

const shown = new Map<string, { count: number; style: HTMLStyleElement }>();

export function hideStatic(uid: string): () => void {
  const name = `octopus-static-${uid.replace(/[^A-Za-z0-9_-]/g, "")}`;
  let entry = shown.get(name);
  if (!entry) {
    const style = document.createElement("style");
    style.textContent = `.${name},.jp-OutputArea-child:has(.${name}){display:none!important}`;
    document.head.append(style);
    shown.set(name, (entry = { count: 0, style }));
  }
  const known = entry;
  known.count += 1;
  return () => {
    known.count -= 1;
    if (known.count) return;
    known.style.remove();
    shown.delete(name);
  };
}
