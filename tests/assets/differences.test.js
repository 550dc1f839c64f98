import assert from "node:assert/strict";
import test from "node:test";
import { parts } from "../../assets/evaluate/differences.js";

const marked = (text, reference) =>
  parts(text, reference)
    .filter((part) => part.differs)
    .map((part) => part.text);

test("words that the reference does not have are marked, spaces never", () => {
  assert.deepEqual(marked("the red fox runs", "the fox runs"), ["red"]);
  assert.deepEqual(marked("a  b", "a b"), []);
  assert.equal(
    parts("the red fox", "a fox")
      .map((part) => part.text)
      .join(""),
    "the red fox",
  );
});

test("order counts, and Chinese is compared sign by sign", () => {
  assert.equal(marked("b a", "a b").length, 1);
  assert.deepEqual(marked("天空是藍色", "天空是紅色"), ["藍"]);
});

test("very long texts are not compared", () => {
  const long = "word ".repeat(2000);
  assert.deepEqual(parts(long, long), [{ text: long, differs: false }]);
});
