/* Has models loaded before they are asked: the chosen one, and those beside it on the slider. Knows ids only. */
import { ask } from "../lib/api.js";

export class Warm {
  wanted = "";
  turn = 0;
  done = true; // whether all that is wanted has been answered

  constructor(server) {
    this.server = server;
  }

  /**
   * Loads these in turn, until others are wanted. What was wanted before is asked only `anew`: the app does nothing
   * while a comparison loads a model.
   * @param {string[]} ids @param {string} precision @param {boolean} anew
   */
  async want(ids, precision, anew = false) {
    const wanted = [...ids, precision].join(" ");
    if (!ids.length || (wanted === this.wanted && !anew)) return;
    this.wanted = wanted;
    this.done = false;
    const turn = (this.turn += 1);
    for (const model_id of ids) {
      if (this.turn === turn) await ask(this.server, "warm", { model_id, precision });
    }
    this.done = this.done || this.turn === turn;
  }
}
