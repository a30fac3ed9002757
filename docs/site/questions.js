// A question typed as a sentence: its little words ("how do I", "what is") begin half of the pages' words, and the
// search would answer with the page that has most of them. They are left out of what is searched.
const LITTLE = new Set(
  ("a am an are at can could did do does for from has have how i if in is it its me my of on or should the them there " +
    "this to use us was were what when where which will with would you your").split(" "),
);
const QUERY = 2; // the theme's message to its search

const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.type === QUERY) {
    const words = message.data.split(/\s+/).map((word) => word.replace(/[?!.,]+$/, ""));
    const kept = words.filter((word) => !LITTLE.has(word.toLowerCase()));
    if (kept.some(Boolean)) message = { ...message, data: kept.join(" ") };
  }
  return post.call(this, message, ...rest);
};
