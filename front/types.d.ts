// Names of types that the pages' scripts use in their JSDoc; `api.d.ts` is made from the server's own description.

import type { components, paths } from "./api.js";
import type Plot from "uplot";

declare global {
  interface Window {
    uPlot: typeof Plot;
  }

  // the pages look for elements of their own markup, and all of it is HTML
  interface ParentNode {
    querySelector(selectors: string): HTMLElement;
    querySelectorAll(selectors: string): NodeListOf<HTMLElement>;
  }
  interface Element {
    closest(selectors: string): HTMLElement;
  }
  interface Document {
    getElementById(id: string): HTMLElement;
  }
  interface HTMLElement {
    /** When a change of its text was last shown by a flash. */
    flashed?: number;
    /** How far a cell's number is from zero, from -1 to 1. */
    heat?: number;
  }

  interface Guide {
    x?: number;
    y?: number;
    dash?: number[];
    label?: string;
    /** Line of text below the top that the label stands in. */
    row?: number;
    colour?: string;
    /** Whether the label stands to the left of the line. */
    isLeft?: boolean;
  }

  type Chart = Plot;
  type Shapes = components["schemas"];

  /** Every field of every member of a union: a page asks `empty` and `error` before the rest. */
  type Whole<Union> = {
    [Key in Union extends unknown ? keyof Union : never]: Union extends unknown
      ? Key extends keyof Union ? Exclude<Union[Key], undefined> : never
      : never;
  };

  /** What a path answers to a GET, or the refusal that stands in its place. */
  type Answer<Path extends keyof paths> = paths[Path] extends {
    get: { responses: { 200: { content: { "application/json": infer Document } } } };
  }
    ? Whole<Document | { error: string; fix: string } | { empty: string }>
    : never;

  /** What a GET came to. */
  type Fetched<Path extends keyof paths> = { ok: boolean; status: number; body: Answer<Path> };

  type State = Omit<Answer<"/api/state">, "desk"> & { desk: Whole<Answer<"/api/state">["desk"]> };

  type Child = Node | string | number | null | undefined | false | any[];

  interface Column<Row> {
    head: string | Node;
    cell: (row: Row) => Child;
    class?: string;
  }

  interface Poll {
    (): void;
    now: () => void;
  }
}
