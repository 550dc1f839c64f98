import assert from "node:assert/strict";
import test from "node:test";
import { shownTexts } from "../../assets/data/record.js";

const shown = (...texts) => shownTexts(texts.map((text) => ({ text })));

test("a character in several tokens is shown where it ends", () => {
  assert.deepEqual(shown("a", "<0xE4>", "<0xBD>", "<0xA0>", " b"), ["a", "", "", "你", " b"]);
  assert.deepEqual(shown("<0xEF><0xBC><0x8C><0xE4>", "<0xBD><0xA0>"), ["，", "你"]);
  assert.deepEqual(shown("<0xF0><0x9F>", "<0x98><0x80>"), ["", "😀"]);
});

test("bytes that make no character, and those whose rest is not there, stay as they are", () => {
  assert.deepEqual(shown("<0xE4>", "<0xBD>"), ["<0xE4>", "<0xBD>"]);
  assert.deepEqual(shown("<0xA0>", "x", "<0xE4>", "<0xBD>", "<0xA0>"), ["<0xA0>", "x", "", "", "你"]);
  assert.deepEqual(shown("<0xe4>", "‹", ""), ["<0xe4>", "‹", ""]);
});
