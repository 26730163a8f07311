// Figures and states as people read them; the same words as octopus_hub/client/jobtext.py.

import type { Amounts, Task } from "./wire";

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${two(Math.floor((whole % 86400) / 3600))}h`;
}

// Like duration, finer where it matters: what a phase took.
export function span(seconds: number): string {
  if (seconds < 0.0995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  return seconds < 10 ? `${seconds.toFixed(1)}s` : duration(seconds);
}

const UNITS: [string, number][] = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];

export function size(bytes: number): string {
  for (const [unit, factor] of UNITS) {
    if (bytes >= factor) {
      const value = bytes / factor;
      return `${value < 1000 ? Number(value.toPrecision(3)) : Math.round(value)} ${unit}`;
    }
  }
  return `${bytes} B`;
}

export function figure(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return String(Number(value.toPrecision(4)));
}

export function count(number: number, word: string, plural = `${word}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? word : plural}`;
}

// What a resource is called, and an amount of it.
export interface Line {
  name: string;
  amount: number;
  text: string;
}

export function lines(amounts: Amounts | undefined): Line[] {
  if (!amounts) return [];
  const found: Line[] = Object.entries(amounts.devices ?? {})
    .sort(([left], [right]) => left.localeCompare(right))
    .map(([name, amount]) => ({ name, amount, text: String(amount) }));
  if (amounts.cpuMillis) found.push({ name: "CPU", amount: amounts.cpuMillis, text: figure(amounts.cpuMillis / 1000) });
  if (amounts.memoryBytes) found.push({ name: "memory", amount: amounts.memoryBytes, text: size(amounts.memoryBytes) });
  return found;
}

export function clock(at: number): string {
  return new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

// How a task ended in a few words; "" while it has not, or ended well.
export function ending(task: Task): string {
  const parts: string[] = [];
  if (task.endReason) parts.push(task.endReason);
  if (task.signal != null) parts.push(`signal ${task.signal}`);
  else if (task.exitCode) parts.push(`exit code ${task.exitCode}`);
  return parts.join(", ");
}
