/* Has models loaded before they are asked: the chosen one, and those beside it on the slider. Knows ids only. */
import { ask } from "../lib/api.js";

export class Warm {
  wanted = "";
  done = true; // whether all that is wanted has been answered

  constructor(server) {
    this.server = server;
  }

  /** Loads these in turn, until others are wanted. @param {string[]} ids @param {string} precision */
  async want(ids, precision) {
    const wanted = [...ids, precision].join(" ");
    if (!ids.length || wanted === this.wanted) return;
    this.wanted = wanted;
    this.done = false;
    for (const model_id of ids) {
      if (this.wanted === wanted) await ask(this.server, "warm", { model_id, precision });
    }
    this.done = this.done || this.wanted === wanted;
  }
}
